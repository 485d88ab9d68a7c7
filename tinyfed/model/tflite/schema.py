"""The parts of the .tflite schema that the reader needs: names of types and operators, and their options."""

# TensorType, by number. Only those of a whole number of bytes have a NumPy type here.
_TENSOR_TYPES = """
    float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64 complex128 uint64 resource variant
    uint32 uint16 int4 bfloat16 int2 uint4 float8_e4m3fn float8_e5m2
"""
TENSOR_TYPES = tuple(_TENSOR_TYPES.split())
NUMPY_TYPES = frozenset(TENSOR_TYPES[:17]) - {"string", "resource", "variant"}

# BuiltinOperator, by number.
_OPERATORS = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
    LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
    TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
    LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD
    RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
    GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
    HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
    DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
"""
OPERATORS = tuple(_OPERATORS.split())
CUSTOM_OPERATOR = OPERATORS.index("CUSTOM")

# operator -> (number of its option table in the BuiltinOptions union, its fields in slot order).
# A field is (name, struct code or "string", default); None skips a slot that nobody here reads.
Field = tuple[str, str, int | float | bool | str]
_FUSED: Field = ("activation", "b", 0)
_WINDOW: tuple[Field, ...] = (("padding", "b", 0), ("stride_x", "i", 0), ("stride_y", "i", 0))
_DILATION: tuple[Field, ...] = (("dilation_x", "i", 1), ("dilation_y", "i", 1))
_MASKS = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
OPTIONS: dict[str, tuple[int, tuple[Field | None, ...]]] = {
    "CONV_2D": (1, (*_WINDOW, _FUSED, *_DILATION)),
    "DEPTHWISE_CONV_2D": (2, (*_WINDOW, ("depth_multiplier", "i", 0), _FUSED, *_DILATION)),
    "AVERAGE_POOL_2D": (5, (*_WINDOW, ("filter_x", "i", 0), ("filter_y", "i", 0), _FUSED)),
    "FULLY_CONNECTED": (8, (_FUSED, ("weights_format", "b", 0), ("keep_dims", "?", False))),
    "SOFTMAX": (9, (("beta", "f", 0.0),)),
    "ADD": (11, (_FUSED,)),
    "SUB": (28, (_FUSED,)),
    "MUL": (21, (_FUSED,)),
    "MEAN": (27, (("keep_dims", "?", False),)),
    "CONCATENATION": (10, (("axis", "i", 0), _FUSED)),
    "GATHER": (23, (("axis", "i", 0), ("batch_dims", "i", 0))),
    "DIV": (29, (_FUSED,)),
    "STRIDED_SLICE": (32, (*((f"{name}_mask", "i", 0) for name in _MASKS), ("offset", "?", False))),
    "TRANSPOSE_CONV": (49, (("padding", "b", 0), ("stride_x", "i", 0), ("stride_y", "i", 0), _FUSED)),
    "BATCH_MATMUL": (101, (("adj_x", "?", False), ("adj_y", "?", False))),
    "GELU": (116, (("approximate", "?", False),)),
    "PACK": (59, (("values_count", "i", 0), ("axis", "i", 0))),
    "UNPACK": (64, (("num", "i", 0), ("axis", "i", 0))),
    "RESIZE_BILINEAR": (15, (None, None, ("align_corners", "?", False), ("half_pixel_centers", "?", False))),
    "SPACE_TO_DEPTH": (19, (("block_size", "i", 0),)),
    "DEPTH_TO_SPACE": (94, (("block_size", "i", 0),)),
    "RESIZE_NEAREST_NEIGHBOR": (74, (("align_corners", "?", False), ("half_pixel_centers", "?", False))),
    "LEAKY_RELU": (75, (("alpha", "f", 0.0),)),
    "SVDF": (6, (("rank", "i", 0), _FUSED)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        71,
        (_FUSED, ("cell_clip", "f", 0.0), ("projection_clip", "f", 0.0), ("time_major", "?", False)),
    ),
    "CALL_ONCE": (103, (("subgraph", "i", 0),)),
    "VAR_HANDLE": (111, (("container", "string", ""), ("shared_name", "string", ""))),
}
OPTIONS["MAX_POOL_2D"] = OPTIONS["AVERAGE_POOL_2D"]
OPTIONS.update(dict.fromkeys(("SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"), OPTIONS["MEAN"]))

PADDINGS = ("same", "valid")
ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit")
