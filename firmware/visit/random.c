#include "tinyfed_visit.h"

uint64_t tinyfed_random_next(tinyfed_random_t *random)
{
    random->state += TINYFED_RANDOM_GAMMA;
    uint64_t z = random->state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Lemire, Fast random integer generation in an interval (2019): a division only when the first draw is doubtful. */
uint32_t tinyfed_random_below(tinyfed_random_t *random, uint32_t bound)
{
    uint64_t product = (tinyfed_random_next(random) >> 32) * bound;
    if ((uint32_t)product < bound) {
        uint32_t threshold = (0u - bound) % bound;
        while ((uint32_t)product < threshold) product = (tinyfed_random_next(random) >> 32) * bound;
    }
    return (uint32_t)(product >> 32);
}

float tinyfed_random_unit(tinyfed_random_t *random)
{
    return (float)(uint32_t)(tinyfed_random_next(random) >> 40) * 0x1p-24f;
}

/* Bentley and Floyd's algorithm P: memory for what is drawn, not for what it is drawn from. */
void tinyfed_random_sequence(tinyfed_random_t *random, uint16_t *sequence, uint32_t length, uint32_t bound)
{
    for (uint32_t drawn = 0; drawn < length; drawn++) {
        uint32_t last = bound - length + drawn;
        uint32_t value = tinyfed_random_below(random, last + 1);
        uint32_t place = 0; /* in front, or behind the number it collides with */
        for (uint32_t i = 0; i < drawn; i++) {
            if (sequence[i] == value) {
                place = i + 1;
                value = last;
                break;
            }
        }
        for (uint32_t i = drawn; i > place; i--) sequence[i] = sequence[i - 1];
        sequence[place] = (uint16_t)value;
    }
}
