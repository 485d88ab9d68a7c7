/* What a function that can fail returns. */
#ifndef TINYFED_STATUS_H
#define TINYFED_STATUS_H

#if defined(__GNUC__)
#define TINYFED_MUST_USE __attribute__((warn_unused_result))
#else
#define TINYFED_MUST_USE
#endif

/* Zero is success, a negative value is an error. Values are part of the wire format: never renumber. */
typedef enum tinyfed_status {
    TINYFED_OK = 0,
    TINYFED_E_ARGUMENT = -1,   /* a value outside its range */
    TINYFED_E_MEMORY = -2,     /* the arena is too small */
    TINYFED_E_TRUNCATED = -3,  /* the image ends before what it announces */
    TINYFED_E_MAGIC = -4,      /* not a model image */
    TINYFED_E_VERSION = -5,    /* an image or order version this build does not know */
    TINYFED_E_CHECKSUM = -6,   /* CRC-32 or hash mismatch */
    TINYFED_E_LAYER = -7,      /* a layer kind, activation or loss this build does not have */
    TINYFED_E_SHAPE = -8,      /* shapes that do not fit together */
    TINYFED_E_ALIGNMENT = -9,  /* an address that is not aligned as required */
    TINYFED_E_NUMERIC = -10,   /* NaN or infinity where a finite number is needed */
    TINYFED_E_STATE = -11,     /* called in the wrong state */
    TINYFED_E_SOURCE = -12,    /* the sample source is missing, damaged or too small for the order */
    TINYFED_E_BUSY = -13,      /* another transfer or visit is under way */
    TINYFED_E_CANCELLED = -14, /* given up on request */
    TINYFED_E_FLASH = -15      /* flash did not take what was written */
} tinyfed_status_t;

#endif
