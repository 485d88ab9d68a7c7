/* A stand-in for what both libraries of an IMU offer: it turns evenly, and has a reading at its own rate. With
 * STAND_IN_IMU=gone in the environment nobody acknowledges its address, with =still it measures no more, with =hung the
 * bus never answers. The libraries' functions are as these: a register's read that fails is -1, in which each bit is
 * set. */
#ifndef STAND_IN_IMU_H
#define STAND_IN_IMU_H

#include "Arduino.h"

class StandInImu
{
  public:
    constexpr StandInImu(float rate_hz, int up) : rate_hz_(rate_hz), up_(up), seen_(-1) {}
    int begin() { return 1; }
    float accelerationSampleRate() { return rate_hz_; }
    int accelerationAvailable()
    {
        if (stand_in_imu_is("hung")) stand_in_hang();
        return gone() || (!stand_in_imu_is("still") && newest() != seen_);
    }
    int readAcceleration(float &x, float &y, float &z)
    {
        seen_ = newest();
        return along(1.0f, x, y, z);
    }
    int readGyroscope(float &x, float &y, float &z) { return along(90.0f, x, y, z); } /* degrees a second */

  private:
    bool gone() { return stand_in_imu_is("gone"); }
    long newest() { return static_cast<long>(static_cast<float>(micros()) * 1e-6f * rate_hz_); }
    int along(float value, float &x, float &y, float &z)
    {
        if (gone()) return -1; /* and x, y and z are as they were */
        return x = up_ == 0 ? value : 0.0f, y = 0.0f, z = up_ == 2 ? value : 0.0f, 1;
    }
    float rate_hz_;
    int up_; /* the axis that points up, and that it turns about */
    long seen_;
};

#endif
