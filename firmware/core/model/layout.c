#include "layout.h"

#define BUFFERS_MAX (2u * TINYFED_LAYERS_MAX)
#define EXTERNAL 255u /* class of the network's input */

/* Buffer t - 1 is the activation of tensor t, buffer layers + t - 1 its gradient. Buffers of one class share
 * bytes; a class is named by its first buffer. */
typedef struct layout {
    const uint8_t *image;
    tinyfed_slot_t *slots;
    uint32_t layers;
    bool trains;
    uint8_t class_of[BUFFERS_MAX];
    uint8_t born[BUFFERS_MAX], dies[BUFFERS_MAX]; /* both inclusive; of a class, at its name */
    uint32_t offset[BUFFERS_MAX];
} layout_t;

static void count_consumer(layout_t *layout, uint32_t tensor, uint32_t layer)
{
    if (tensor == 0) return;
    tinyfed_slot_t *slot = &layout->slots[tensor - 1u];
    if (slot->consumers == 0) slot->first = (uint8_t)layer;
    slot->last = (uint8_t)layer;
    slot->consumers++;
}

static uint32_t input_of(const layout_t *layout, uint32_t layer)
{
    return tinyfed_input_of(tinyfed_record(layout->image, layer), layer);
}

static uint32_t kind_of(const layout_t *layout, uint32_t layer)
{
    return tinyfed_kind_of(tinyfed_record(layout->image, layer));
}

/* The second addend; 0 where there is none. */
static uint32_t input_b_of(const layout_t *layout, uint32_t layer)
{
    return tinyfed_input_b_of(tinyfed_record(layout->image, layer));
}

static bool trains_weights(const layout_t *layout, uint32_t layer)
{
    return (tinyfed_record(layout->image, layer)[TINYFED_IN_FLAGS] & TINYFED_TRAIN_WEIGHTS) != 0;
}

/* gradient == 0 marks, until places are found, a tensor whose gradient is needed. */
static bool needs_gradient(const layout_t *layout, uint32_t tensor)
{
    return tensor != 0 && layout->slots[tensor - 1u].gradient != TINYFED_NOWHERE;
}

static void find_gradients(layout_t *layout)
{
    for (uint32_t layer = 0; layer < layout->layers; layer++) {
        const bool needed = tinyfed_trains(tinyfed_record(layout->image, layer)) ||
                            needs_gradient(layout, input_of(layout, layer)) ||
                            needs_gradient(layout, input_b_of(layout, layer));
        layout->slots[layer].gradient = layout->trains && needed ? 0 : TINYFED_NOWHERE;
    }
}

static bool sole_consumer(const layout_t *layout, uint32_t tensor)
{
    return tensor != 0 && layout->slots[tensor - 1u].consumers == 1;
}

/* Does the layer's output take the place of its input? */
static bool writes_over_input(const layout_t *layout, uint32_t layer)
{
    const uint32_t input = input_of(layout, layer), kind = kind_of(layout, layer);
    if (kind == TINYFED_KIND_RESHAPE) return input == 0 || sole_consumer(layout, input);
    if (!sole_consumer(layout, input) || layout->class_of[input - 1u] == EXTERNAL) return false;
    if (kind != TINYFED_KIND_ACTIVATION && kind != TINYFED_KIND_ADD && kind != TINYFED_KIND_SCALE) return false;
    if (!layout->trains) return true;
    if (kind == TINYFED_KIND_SCALE && trains_weights(layout, layer)) return false;
    return !needs_gradient(layout, input) || layout->slots[input - 1u].derivative == TINYFED_LINEAR;
}

static void share_activations(layout_t *layout)
{
    for (uint32_t layer = 0; layer < layout->layers; layer++) {
        const uint32_t input = input_of(layout, layer);
        const bool over = writes_over_input(layout, layer);
        layout->class_of[layer] = (uint8_t)layer;
        if (over) layout->class_of[layer] = input == 0 ? EXTERNAL : layout->class_of[input - 1u];
        /* A reshape hands its input's derivative on: the gradient is finished before it reaches the reshape. */
        layout->slots[layer].derivative = tinyfed_record(layout->image, layer)[TINYFED_IN_ACTIVATION];
        if (over && kind_of(layout, layer) == TINYFED_KIND_RESHAPE && input != 0)
            layout->slots[layer].derivative = layout->slots[input - 1u].derivative;
    }
}

/* Where the gradient of the tensor lies, as the buffer it shares, or its own. */
static uint32_t gradient_home(const layout_t *layout, uint32_t tensor)
{
    const uint32_t own = layout->layers + tensor - 1u;
    if (tensor == layout->layers)
        return layout->class_of[tensor - 1u] == EXTERNAL ? own : tensor - 1u; /* the loss writes it over the output */
    if (!sole_consumer(layout, tensor)) return own;
    const uint32_t layer = layout->slots[tensor - 1u].first;
    switch (kind_of(layout, layer)) {
    case TINYFED_KIND_RESHAPE:
    case TINYFED_KIND_ACTIVATION:
    case TINYFED_KIND_SCALE: return layout->layers + layer; /* of the layer's output */
    case TINYFED_KIND_ADD: return input_of(layout, layer) == tensor ? layout->layers + layer : own;
    case TINYFED_KIND_DENSE:
    case TINYFED_KIND_AVERAGE_POOL:
    case TINYFED_KIND_GLOBAL_AVERAGE: return tensor - 1u; /* value by value over the activation */
    case TINYFED_KIND_CONV2D:
    case TINYFED_KIND_DEPTHWISE: return trains_weights(layout, layer) ? own : tensor - 1u;
    default: return own;
    }
}

static void share_gradients(layout_t *layout)
{
    for (uint32_t tensor = layout->layers; tensor >= 1; tensor--) {
        const uint32_t own = layout->layers + tensor - 1u;
        const uint32_t home = gradient_home(layout, tensor);
        layout->class_of[own] = home == own ? (uint8_t)own : layout->class_of[home];
    }
}

static void live(layout_t *layout, uint32_t buffer, uint32_t time)
{
    const uint32_t name = layout->class_of[buffer];
    if (name == EXTERNAL) return;
    if (time < layout->born[name]) layout->born[name] = (uint8_t)time;
    if (time > layout->dies[name]) layout->dies[name] = (uint8_t)time;
}

static void reads(layout_t *layout, uint32_t layer, uint32_t tensor)
{
    if (tensor == 0) return;
    const uint32_t layers = layout->layers, backward = 2u * layers - layer;
    live(layout, tensor - 1u, layer);
    if (!needs_gradient(layout, layer + 1u)) return;
    const uint32_t kind = kind_of(layout, layer);
    if (trains_weights(layout, layer)) live(layout, tensor - 1u, backward);
    if (!needs_gradient(layout, tensor)) return;
    if (kind == TINYFED_KIND_MAX_POOL) live(layout, tensor - 1u, backward);
    live(layout, layers + tensor - 1u, backward);
    /* The reshape that hands a derivative on does not need the values itself. */
    if (layout->slots[tensor - 1u].derivative != TINYFED_LINEAR && kind != TINYFED_KIND_RESHAPE)
        live(layout, tensor - 1u, backward);
}

static void find_lifetimes(layout_t *layout)
{
    const uint32_t layers = layout->layers;
    for (uint32_t buffer = 0; buffer < 2u * layers; buffer++) {
        layout->born[buffer] = UINT8_MAX;
        layout->dies[buffer] = 0;
    }
    for (uint32_t layer = 0; layer < layers; layer++) {
        live(layout, layer, layer);
        reads(layout, layer, input_of(layout, layer));
        reads(layout, layer, input_b_of(layout, layer));
        if (needs_gradient(layout, layer + 1u)) live(layout, layers + layer, 2u * layers - layer);
    }
    live(layout, layers - 1u, layers);
    if (needs_gradient(layout, layers)) live(layout, 2u * layers - 1u, layers);
}

static uint32_t bytes_of(const layout_t *layout, uint32_t buffer)
{
    const uint32_t tensor = buffer % layout->layers + 1u;
    return tinyfed_align_up(tinyfed_tensor_count(layout->image, tensor) * (uint32_t)sizeof(float));
}

static bool is_placed_class(const layout_t *layout, uint32_t buffer)
{
    return layout->class_of[buffer] == buffer && layout->born[buffer] <= layout->dies[buffer];
}

/* The lowest offset at which the buffer meets none that is placed and alive at the same time. */
static uint32_t lowest_offset(const layout_t *layout, uint32_t buffer, uint32_t start)
{
    uint32_t offset = start;
    const uint32_t bytes = bytes_of(layout, buffer);
    for (uint32_t other = 0; other < 2u * layout->layers;) {
        const bool meets = is_placed_class(layout, other) && layout->offset[other] != TINYFED_NOWHERE &&
                           layout->born[other] <= layout->dies[buffer] && layout->born[buffer] <= layout->dies[other] &&
                           layout->offset[other] < offset + bytes &&
                           offset < layout->offset[other] + bytes_of(layout, other);
        if (meets) {
            offset = layout->offset[other] + bytes_of(layout, other);
            other = 0; /* what was passed may be in the way now */
        } else {
            other++;
        }
    }
    return offset;
}

/* The largest first, of equals the one born first in the table. */
static uint32_t place(layout_t *layout, uint32_t start)
{
    uint32_t end = start;
    for (uint32_t buffer = 0; buffer < 2u * layout->layers; buffer++) layout->offset[buffer] = TINYFED_NOWHERE;
    for (;;) {
        uint32_t next = BUFFERS_MAX, most = 0;
        for (uint32_t buffer = 0; buffer < 2u * layout->layers; buffer++) {
            if (!is_placed_class(layout, buffer) || layout->offset[buffer] != TINYFED_NOWHERE) continue;
            if (bytes_of(layout, buffer) > most) {
                most = bytes_of(layout, buffer);
                next = buffer;
            }
        }
        if (next == BUFFERS_MAX) return end;
        layout->offset[next] = lowest_offset(layout, next, start);
        if (layout->offset[next] + most > end) end = layout->offset[next] + most;
    }
}

uint32_t tinyfed_layout(tinyfed_slot_t *slots, const uint8_t *image, tinyfed_mode_t mode)
{
    layout_t layout = {0};
    const uint32_t layers = tinyfed_get16(image + TINYFED_AT_LAYER_COUNT);
    layout.image = image;
    layout.slots = slots;
    layout.layers = layers;
    layout.trains = mode != TINYFED_MODE_INFER;
    memset(slots, 0, layers * sizeof *slots);
    for (uint32_t layer = 0; layer < layers; layer++) {
        count_consumer(&layout, input_of(&layout, layer), layer);
        count_consumer(&layout, input_b_of(&layout, layer), layer);
    }
    find_gradients(&layout);
    share_activations(&layout);
    share_gradients(&layout);
    find_lifetimes(&layout);
    const uint32_t table = layers * (uint32_t)sizeof(tinyfed_slot_t);
    const uint32_t end = place(&layout, tinyfed_align_up(table));
    for (uint32_t layer = 0; layer < layers; layer++) {
        const uint32_t name = layout.class_of[layer];
        slots[layer].activation = name == EXTERNAL ? TINYFED_NOWHERE : layout.offset[name];
        if (needs_gradient(&layout, layer + 1u)) slots[layer].gradient = layout.offset[layout.class_of[layers + layer]];
    }
    return end;
}
