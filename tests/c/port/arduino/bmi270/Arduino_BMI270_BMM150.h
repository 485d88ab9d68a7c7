/* A stand-in for the library of the IMU of the Nano 33 BLE Sense Rev2: it lies on its side, and turns about x. The
 * library turns the axes of the chip into those of the first Sense. */
#ifndef ARDUINO_BMI270_BMM150_H
#define ARDUINO_BMI270_BMM150_H

class StandInBoschImu
{
  public:
    int begin() { return 1; }
    int readAcceleration(float &x, float &y, float &z) { return x = 1.0f, y = 0.0f, z = 0.0f, 1; }
    int readGyroscope(float &x, float &y, float &z) { return x = 90.0f, y = 0.0f, z = 0.0f, 1; } /* degrees a second */
};

static StandInBoschImu IMU;

#endif
