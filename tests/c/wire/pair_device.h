/* pair_device.c: a device's application around the link. */
#ifndef PAIR_DEVICE_H
#define PAIR_DEVICE_H

#include <stdint.h>

typedef struct device device_t;

device_t *device_new(uint32_t arena_bytes, uint16_t chunk_bytes);
void device_free(device_t *device);
void device_set_steps(device_t *device, uint32_t steps);
void device_receive(device_t *device, const uint8_t *bytes, uint32_t byte_count, uint32_t now_ms);
void device_work(device_t *device, uint32_t now_ms);
uint32_t device_transmit(device_t *device, uint8_t *bytes, uint32_t capacity, uint32_t now_ms);
uint32_t device_idle_ms(const device_t *device, uint32_t now_ms);
uint32_t device_counter(const device_t *device, uint32_t which);

#endif
