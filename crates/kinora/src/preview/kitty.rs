//! The kitty graphics protocol: RGB bytes in base64, in pieces, shown in a given number of cells.
//!
//! **Source**: the protocol's public description (sw.kovidgoyal.net/kitty/graphics-protocol).

use kinora_media::Frame;

/// Most base64 characters in one piece, by the protocol.
const PIECE: usize = 4096;
/// Removes the image and frees its data; the number is ours, so that no other image is touched.
pub const ERASE: &str = "\x1b_Ga=d,d=I,i=7463,q=2\x1b\\";

/// Shows a frame at the cursor, `columns` x `rows` cells large, in place of the one before; the cursor stays.
pub fn show(frame: &Frame, columns: u16, rows: u16) -> String {
    let data = base64(&frame.rgb);
    let mut out = String::with_capacity(data.len() + 200);
    let mut rest = data.as_str();
    let mut keys = format!(
        "a=T,f=24,s={},v={},i=7463,p=1,c={columns},r={rows},C=1,q=2,",
        frame.width_px, frame.height_px
    );
    loop {
        let (piece, after) = rest.split_at(rest.len().min(PIECE));
        let more = u8::from(!after.is_empty());
        out += &format!("\x1b_G{keys}m={more};{piece}\x1b\\");
        if after.is_empty() {
            return out;
        }
        (rest, keys) = (after, "q=2,".to_owned());
    }
}

/// Standard base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = 0u32;
        for i in 0..3 {
            word = word << 8 | u32::from(group.get(i).copied().unwrap_or(0));
        }
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn two_by_two_pixels_exactly() {
        let frame = Frame::new(2, 2, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]).unwrap();
        assert_eq!(
            show(&frame, 4, 2),
            "\x1b_Ga=T,f=24,s=2,v=2,i=7463,p=1,c=4,r=2,C=1,q=2,m=0;/wAAAP8AAAD/////\x1b\\"
        );
    }

    #[test]
    fn long_data_goes_in_pieces() {
        let sent = show(&Frame::filled(64, 36, [1, 2, 3]).unwrap(), 32, 9);
        let pieces: Vec<_> = sent.split_terminator("\x1b\\").collect();
        assert_eq!(pieces.len(), (64 * 36 * 4usize).div_ceil(PIECE));
        assert!(pieces[0].contains("m=1;") && pieces[1].starts_with("\x1b_Gq=2,m=1;") && pieces[2].contains("m=0;"));
        let data: String = pieces.iter().map(|piece| piece.split_once(';').unwrap().1).collect();
        assert_eq!(data, "AQID".repeat(64 * 36));
    }
}
