//! The few names that a pickle may refer to. Nothing of Python is behind them: each is an instruction of ours.

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// `(storage, offset, size, stride, requires_grad, hooks)`.
    RebuildTensor,
    /// The same with a type at the end, for storages of bytes.
    RebuildTensorTyped,
    /// `(tensor, requires_grad, hooks)`.
    RebuildParameter,
    /// `(function, class, its arguments, attributes)`.
    RebuildOfClass,
    /// `Tensor`, `Parameter`.
    Class,
    /// A tuple.
    Size,
    /// Where a tensor was.
    Device,
    /// A class of storages, with the elements that it holds.
    Storage(Element),
    /// A storage of bytes.
    Untyped,
    /// A type by itself.
    Type(Element),
}

/// The type of elements, in the spelling of safetensors, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub name: &'static str,
    pub bytes: usize,
}

/// (class of storages, name of the type, element).
const ELEMENTS: [(&str, &str, Element); 12] = [
    ("FloatStorage", "float32", element("F32", 4)),
    ("HalfStorage", "float16", element("F16", 2)),
    ("BFloat16Storage", "bfloat16", element("BF16", 2)),
    ("DoubleStorage", "float64", element("F64", 8)),
    ("LongStorage", "int64", element("I64", 8)),
    ("IntStorage", "int32", element("I32", 4)),
    ("ShortStorage", "int16", element("I16", 2)),
    ("CharStorage", "int8", element("I8", 1)),
    ("ByteStorage", "uint8", element("U8", 1)),
    ("BoolStorage", "bool", element("BOOL", 1)),
    ("Float8_e4m3fnStorage", "float8_e4m3fn", element("F8_E4M3", 1)),
    ("Float8_e5m2Storage", "float8_e5m2", element("F8_E5M2", 1)),
];

const fn element(name: &'static str, bytes: usize) -> Element {
    Element { name, bytes }
}

/// The meaning of a name, if it is allowed.
pub(super) fn find(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTensorTyped,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::RebuildParameter,
        ("torch._tensor", "_rebuild_from_type_v2") => Global::RebuildOfClass,
        ("torch", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer") => Global::Class,
        ("torch", "Size") => Global::Size,
        ("torch", "device") => Global::Device,
        ("torch", "UntypedStorage") | ("torch.storage", "UntypedStorage") => Global::Untyped,
        ("torch" | "torch.cuda", _) => {
            let known = ELEMENTS
                .iter()
                .find(|(class, kind, _)| name == *class || name == *kind)?;
            match name == known.0 {
                true => Global::Storage(known.2),
                false => Global::Type(known.2),
            }
        }
        _ => return None,
    })
}
