/* A stand-in for the library of the IMU of the second revision: it lies on its side, and turns about x. The library
 * turns the axes of the chip into those of the first Sense. */
#ifndef ARDUINO_BMI270_BMM150_H
#define ARDUINO_BMI270_BMM150_H

#include "imu.h"

static StandInImu IMU(99.84f, 0);

#endif
