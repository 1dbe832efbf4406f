//! checkpoint files: safetensors, quantised formats, model folders, the registry with licences
