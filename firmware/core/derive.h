/* The derivatives, where activation.h or activation.c want them. */
TINYFED_DERIVE_LINKAGE float tinyfed_derive(uint8_t activation, float alpha, float y, float g)
{
    switch (activation) {
    case TINYFED_RELU:
        return y == 0.0f ? 0.0f : g;
    case TINYFED_TANH:
        return g * (1.0f - y * y);
    case TINYFED_RELU6:
        return y == 0.0f || y == 6.0f ? 0.0f : g;
    case TINYFED_LEAKY_RELU:
        return y < 0.0f ? g * alpha : g;
    case TINYFED_SIGMOID:
        return g * (y * (1.0f - y));
    default:
        return g;
    }
}
