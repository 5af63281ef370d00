"""ftc.h for Python: enough of the C library to call its ops on torch tensors, beside the peers they are measured against.

The library computes on a stream of its own; synchronize() waits for it, and torch.cuda.synchronize() for everything.
"""
import ctypes as c
import os

F32, BF16, F16 = 0, 1, 2
WEIGHT_F32, WEIGHT_BF16, WEIGHT_NF4 = 0, 1, 2
I32, I64, F, U32, U64, P = c.c_int32, c.c_int64, c.c_float, c.c_uint32, c.c_uint64, c.c_void_p


class Params(c.Structure):
    """A struct of ftc.h: its first field is its size, what is not given is 0."""

    def __init__(self, **values):
        super().__init__(**values)
        self.struct_size = c.sizeof(self)


def struct(name, *fields):
    return type(name, (Params,), {"_fields_": [("struct_size", U32), *fields]})


def of(kind, names):
    return [(name, kind) for name in names.split()]


ContextParams = struct("ContextParams", *of(I32, "device_index threads reserved"), ("memory_limit_bytes", I64))
Weight = struct("Weight", ("format", I32), *of(I64, "rows cols row_stride"), *of(P, "data absmax nested_absmax nested_map quant_map"),
                ("nested_offset", F), *of(I32, "block_size nested_block_size border bits group_size"), *of(P, "scale minimum"))
LoraSegment = struct("LoraSegment", ("rank", I32), *of(I64, "row_begin row_end"), *of(P, "a b s da db"),
                     *of(F, "scaling dropout_probability"), ("dropout_seed", U64), *of(I32, "pool reserved"))
LinearParams = struct("LinearParams", ("dtype", I32), *of(I64, "rows x_row_stride y_row_stride dx_row_stride dy_row_stride dweight_row_stride"),
                      ("accumulate", I32), ("dropout_step", U32), *of(I32, "x_border dy_border"), *of(P, "dropout_samples dropout_positions step_values"))
LinearLayout = struct("LinearLayout", ("border", I32), *of(I64, "x_row_stride y_row_stride weight_row_stride"))
LinearWorkspaceParams = struct("LinearWorkspaceParams", *of(I32, "dtype weight_format border"), *of(I64, "rows in_features out_features rank"))
AttentionParams = struct("AttentionParams", ("dtype", I32), *of(I64, "query_rows key_rows first_query"),
                         *of(I32, "heads key_value_heads head_dim"), ("scale", F),
                         *of(I64, "q_row_stride k_row_stride v_row_stride o_row_stride dq_row_stride dk_row_stride dv_row_stride do_row_stride"))
CrossEntropyParams = struct("CrossEntropyParams", ("dtype", I32), *of(I64, "rows x_row_stride dx_row_stride dweight_row_stride"),
                            ("gradient_scale", F), ("trained_rows", I32), ("step_values", P))
CrossEntropyWorkspaceParams = struct("CrossEntropyWorkspaceParams", *of(I32, "dtype weight_format reserved"), *of(I64, "rows hidden_size vocab_size"))


class Refused(RuntimeError):
    """The library said no; the text is its sentence."""


def pointer(x):
    """A tensor's address, or an address as it is; None is NULL."""
    return x.data_ptr() if hasattr(x, "data_ptr") else x


class Library:
    """One context and stream of the library at `path` (FTC_LIBRARY_PATH)."""

    def __init__(self, path=None):
        self.c = c.CDLL(path or os.environ["FTC_LIBRARY_PATH"])
        self.c.ftc_last_error_message.restype = c.c_char_p
        self.context, self.stream = P(), P()
        self._check(self.c.ftc_context_create(c.byref(self.context), c.byref(ContextParams())))
        self._check(self.c.ftc_stream_create(c.byref(self.stream), self.context))
        self.packed_rows = I64(-1)  # measured now, as ftc does before it trains
        self._check(self.c.ftc_linear_tune(self.stream, c.byref(self.packed_rows)))

    def _check(self, status):
        if status != 0:
            raise Refused(self.c.ftc_last_error_message().decode())

    def call(self, function, *arguments):
        """ftc_<function>(stream, arguments...): tensors and addresses as pointers, structs by reference, ints as int64."""
        converted = [c.byref(a) if isinstance(a, c.Structure) else a if isinstance(a, c._SimpleCData) else I64(a) if isinstance(a, int)
                     else P(pointer(a)) for a in arguments]
        self._check(getattr(self.c, "ftc_" + function)(self.stream, *converted))

    def ask(self, function, *arguments):
        """ftc_<function>(context, arguments..., int64* out)."""
        out = I64()
        converted = [c.byref(a) if isinstance(a, c.Structure) else a for a in arguments]
        self._check(getattr(self.c, "ftc_" + function)(self.context, *converted, c.byref(out)))
        return out.value

    def linear_layout(self, in_features, out_features, rank, dtype):
        layout = LinearLayout()
        self._check(self.c.ftc_linear_get_layout(self.context, I64(in_features), I64(out_features), I64(rank), I32(dtype), c.byref(layout)))
        return layout

    def synchronize(self):
        self._check(self.c.ftc_stream_synchronize(self.stream))
