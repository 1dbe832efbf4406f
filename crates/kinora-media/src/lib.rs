//! frames to files and back: colour, H.264, MP4, WebM, GIF, WebP, PNG, thumbnails, sheets, scaling, interpolation
