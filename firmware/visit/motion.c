#include "tinyfed_record.h"

/* Over all windows of the seven people the watch task trains with; tinyfed/tasks/watch.py computes them anew, and a
 * test holds the two together. ax ay az in g, wx wy wz in rad/s. */
static const double mean[6] = {
    -0x1.1fb442897fef6p-8, 0x1.7fb5caf07ec98p-2,  -0x1.f1599b5c95cbcp-4,
    0x1.b735da66765e3p-6,  -0x1.b672bf0bc2706p-9, 0x1.6bc9083e1ddfbp-7,
};
static const double deviation[6] = {
    0x1.e16e137fac61bp-1, 0x1.fa950283be043p-2, 0x1.163ab12139cebp-1,
    0x1.ce58da8efd924p-1, 0x1.4a8d2879bf9e8p+1, 0x1.06d5f677f2877p+0,
};

const tinyfed_window_form_t tinyfed_motion_form = {
    .channels = 6,
    .rate_hz = 50,
    .group = 5,
    .steps = 20,
    .stride = 10,
    .mean = mean,
    .deviation = deviation,
};
