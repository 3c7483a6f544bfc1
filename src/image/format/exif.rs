//! The two fields of EXIF that matter here: which way is up, and what the user says of the picture.

use image::metadata::Orientation;

/// What JPEG, and some writers of other formats, put before it.
pub(super) const HEAD: &[u8] = b"Exif\0\0";
/// IFD0's pointer to the fields of the exposure.
const EXIF_IFD: u16 = 0x8769;
/// `UserComment`: a character code of 8 bytes, then the text.
const USER_COMMENT: u16 = 0x9286;
const UNICODE: &[u8] = b"UNICODE\0";

/// Bytes of what [`with_comment`] makes beside the text.
pub(super) const OVERHEAD: usize = 44 + UNICODE.len();

/// How the picture is to be turned; as it is where EXIF does not say.
pub(super) fn orientation(exif: Option<&[u8]>) -> Orientation {
    exif.map(tiff).and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// EXIF with `text` as its `UserComment`, in big-endian UTF-16 as common viewers of parameters expect it.
pub(super) fn with_comment(text: &str) -> Vec<u8> {
    let data: Vec<u8> =
        UNICODE.iter().copied().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let field = |tag: u16, kind: u16, count: u32, value: u32| {
        let (tag, kind) = (tag.to_be_bytes(), kind.to_be_bytes());
        // A directory of one field: their number, the field, no further directory.
        [&[0, 1], &tag[..], &kind, &count.to_be_bytes(), &value.to_be_bytes(), &[0; 4]].concat()
    };
    let (long, undefined) = (4, 7);
    [b"MM\0*\0\0\0\x08", &field(EXIF_IFD, long, 1, 26)[..], &field(USER_COMMENT, undefined, count, 44), &data]
        .concat()
}

/// The `UserComment`, where there is one in UTF-16.
pub(super) fn comment(exif: &[u8]) -> Option<String> {
    let tiff = Tiff::new(tiff(exif))?;
    let (_, directory) = tiff.field(tiff.long(4)?, EXIF_IFD)?;
    let (count, at) = tiff.field(directory, USER_COMMENT)?;
    let text = tiff.slice(at, count)?.strip_prefix(UNICODE)?;
    let units: Vec<u16> = text.as_chunks().0.iter().map(|two| (tiff.two)(*two)).collect();
    String::from_utf16(&units).ok()
}

/// EXIF without [`HEAD`].
fn tiff(exif: &[u8]) -> &[u8] {
    exif.strip_prefix(HEAD).unwrap_or(exif)
}

/// EXIF as the TIFF file that it is.
struct Tiff<'a> {
    bytes: &'a [u8],
    two: fn([u8; 2]) -> u16,
    four: fn([u8; 4]) -> u32,
}

impl<'a> Tiff<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first_chunk()? {
            b"MM\0*" => Some(Self { bytes, two: u16::from_be_bytes, four: u32::from_be_bytes }),
            b"II*\0" => Some(Self { bytes, two: u16::from_le_bytes, four: u32::from_le_bytes }),
            _ => None,
        }
    }

    /// Count and value of a field in the directory at `at`.
    fn field(&self, at: u32, tag: u16) -> Option<(u32, u32)> {
        let first = at.checked_add(2)?;
        let mut fields = (0..u32::from(self.short(at)?)).map_while(|i| first.checked_add(12 * i));
        let field = fields.find(|field| self.short(*field) == Some(tag))?;
        Some((self.long(field.checked_add(4)?)?, self.long(field.checked_add(8)?)?))
    }

    fn short(&self, at: u32) -> Option<u16> {
        self.slice(at, 2)?.first_chunk().copied().map(self.two)
    }

    fn long(&self, at: u32) -> Option<u32> {
        self.slice(at, 4)?.first_chunk().copied().map(self.four)
    }

    fn slice(&self, at: u32, length: u32) -> Option<&'a [u8]> {
        self.bytes.get(usize::try_from(at).ok()?..)?.get(..usize::try_from(length).ok()?)
    }
}
