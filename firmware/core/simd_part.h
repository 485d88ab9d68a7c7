/* Parts of a vector where the instruction set has no masked loads and stores. */
SIMD_INLINE void simd_load_part(v8_t *v, const float *x, uint32_t count)
{
    float lanes[8] = {0};
    for (uint32_t k = 0; k < count; k++) lanes[k] = x[k];
    memcpy(v, lanes, sizeof *v);
}

SIMD_INLINE void simd_store_part(float *x, const v8_t *v, uint32_t count)
{
    float lanes[8];
    memcpy(lanes, v, sizeof lanes);
    for (uint32_t k = 0; k < count; k++) x[k] = lanes[k];
}
