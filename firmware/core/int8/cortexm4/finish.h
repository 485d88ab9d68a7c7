/* tinyfed_int8_finish on a Cortex-M4, pieces of assembly: a row of the table in r4, r5, r6 and r8, and a sum by it,
 * clamped to int8. The row pointer goes to the next. */
#ifndef TINYFED_INT8_CORTEXM4_FINISH_H
#define TINYFED_INT8_CORTEXM4_FINISH_H

#define LOAD_ROW "ldmia %[row]!, {r4, r5, r6, r8}\n\t"
#define FINISH(sum)                                                                                                    \
    "add " sum ", " sum ", r4\n\t"                                                                                     \
    "smmlar " sum ", " sum ", r5, " sum "\n\t"                                                                         \
    "add " sum ", " sum ", " sum ", asr #31\n\t"                                                                       \
    "add " sum ", " sum ", r6\n\t"                                                                                     \
    "asr " sum ", " sum ", r8\n\t"                                                                                     \
    "ssat " sum ", #8, " sum "\n\t"

#endif
