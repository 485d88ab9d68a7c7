/* An accelerometer, and a gyroscope, that Linux drives: Industrial I/O, one reading at a time through sysfs. */
#ifndef TINYFED_POSIX_IIO_H
#define TINYFED_POSIX_IIO_H

#include <stdint.h>

#include "tinyfed_sensor.h"

/* `names`: of one device, or of two with a comma between, as their `name` files say (mpu6050;
 * lsm6ds3_accel,lsm6ds3_gyro), each maybe behind the folder of all devices, if that is another than Linux' own.
 * Readings are acceleration x, y, z in g and, with 6 channels, angular velocity x, y, z in rad/s. Returns NULL, or what
 * is wrong in words. */
const char *tinyfed_iio_open(const char *names, uint32_t channels, uint32_t rate_hz, uint32_t (*now_us)(void));

/* NULL before a device was opened. */
const tinyfed_sensor_t *tinyfed_iio_sensor(void);

#endif
