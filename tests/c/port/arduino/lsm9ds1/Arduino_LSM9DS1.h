/* A stand-in for the library of the Nano 33 BLE Sense's IMU: it lies still on a desk, and turns about z. */
#ifndef ARDUINO_LSM9DS1_H
#define ARDUINO_LSM9DS1_H

class StandInImu
{
  public:
    int begin() { return 1; }
    int readAcceleration(float &x, float &y, float &z) { return x = 0.0f, y = 0.0f, z = 1.0f, 1; }
    int readGyroscope(float &x, float &y, float &z) { return x = 0.0f, y = 0.0f, z = 90.0f, 1; } /* degrees a second */
};

static StandInImu IMU;

#endif
