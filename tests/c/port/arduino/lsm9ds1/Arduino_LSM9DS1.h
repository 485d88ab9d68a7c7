/* A stand-in for the library of the IMU of the Nano 33 BLE and its Sense: it lies still on a desk, and turns about z.
 */
#ifndef ARDUINO_LSM9DS1_H
#define ARDUINO_LSM9DS1_H

#include "imu.h"

static StandInImu IMU(119.0f, 2);

#endif
