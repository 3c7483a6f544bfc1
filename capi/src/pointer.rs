//! The caller's memory: every pointer of the C interface is read and written here, and nowhere else.
//!
//! A value of these types comes from C alone, where the header says what it must point to. Null and misaligned
//! pointers and impossible lengths are refused; what a pointer points to is the caller's promise.
#![expect(unsafe_code, reason = "C hands out pointers")]

use kandinsky::{Error, Kind, Result};
use std::ffi::{c_char, c_void};

/// A parameter of an exported function.
pub trait Argument: Copy {
    /// Zeroes what the caller will read, before anything can fail.
    fn clear(self) {}

    /// Refuses what no call may have.
    ///
    /// # Errors
    /// [`Kind::NullArgument`], or [`Kind::BadRequest`] for a pointer that is not aligned.
    fn check(self, _name: &str) -> Result<()> {
        Ok(())
    }
}

impl Argument for u32 {}
impl Argument for u64 {}
impl Argument for usize {}

/// An array of the caller that is read: `const T *`, with its length beside it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct In<T>(*const T);

/// The same, or null for nothing.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct OptIn<T>(*const T);

/// A place of the caller for one answer: `T *`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Out<T>(*mut T);

/// The same, or null where the answer is not wanted.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct OptOut<T>(*mut T);

/// An array of the caller that is filled: `T *`, with its capacity beside it; null asks for the length alone.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Buffer<T>(*mut T);

/// The caller's pointer for its own use in callbacks.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct UserData(*mut c_void);

// SAFETY: the pointer is handed back and never followed; the header says that callbacks come from another
// thread.
unsafe impl Send for UserData {}

impl Argument for UserData {}

/// UTF-8 of the caller.
pub type Text = In<c_char>;
/// UTF-8 of the caller, or none.
pub type OptText = OptIn<c_char>;
/// Room of the caller for UTF-8 and a NUL.
pub type TextBuffer = Buffer<c_char>;

impl<T: Copy> Argument for In<T> {
    fn check(self, name: &str) -> Result<()> {
        not_null(self.0, name)?;
        aligned(self.0, name)
    }
}

impl<T: Copy> Argument for OptIn<T> {
    fn check(self, name: &str) -> Result<()> {
        aligned(self.0, name)
    }
}

impl<T: Copy + Default> Argument for Out<T> {
    fn clear(self) {
        OptOut(self.0).clear();
    }

    fn check(self, name: &str) -> Result<()> {
        not_null(self.0.cast_const(), name)?;
        aligned(self.0.cast_const(), name)
    }
}

impl<T: Copy + Default> Argument for OptOut<T> {
    fn clear(self) {
        self.set(T::default());
    }

    fn check(self, name: &str) -> Result<()> {
        aligned(self.0.cast_const(), name)
    }
}

impl<T: Copy> Argument for Buffer<T> {
    fn check(self, name: &str) -> Result<()> {
        aligned(self.0.cast_const(), name)
    }
}

fn not_null<T>(pointer: *const T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::new(Kind::NullArgument, format!("{name} is null")));
    }
    Ok(())
}

fn aligned<T>(pointer: *const T, name: &str) -> Result<()> {
    if !pointer.is_aligned() {
        let message = format!("{name} is not aligned to {} bytes", align_of::<T>());
        return Err(Error::new(Kind::BadRequest, message));
    }
    Ok(())
}

impl<T: Copy> Out<T> {
    /// Writes the answer.
    pub fn set(self, value: T) {
        OptOut(self.0).set(value);
    }
}

impl<T: Copy> OptOut<T> {
    /// Whether the caller wants the answer.
    pub fn is_wanted(self) -> bool {
        !self.0.is_null() && self.0.is_aligned()
    }

    /// Writes the answer where it is wanted.
    pub fn set(self, value: T) {
        if self.is_wanted() {
            // SAFETY: it is neither null nor misaligned, and the header says that it points to a T.
            unsafe { self.0.write(value) };
        }
    }
}

impl<T: Copy> In<T> {
    /// A copy of the array, at most `limit` long.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a longer one.
    pub fn read(self, length: usize, limit: usize, name: &str) -> Result<Vec<T>> {
        if length > limit || length > LONGEST / size_of::<T>().max(1) {
            return Err(Error::new(
                Kind::BadRequest,
                format!("{name} has a length of {length}; the limit is {limit}"),
            ));
        }
        not_null(self.0, name)?;
        // SAFETY: it is neither null nor misaligned (checked at the boundary), the length is possible, and the
        // header says that it points to as many T, which nobody writes meanwhile.
        Ok(unsafe { std::slice::from_raw_parts(self.0, length) }.to_vec())
    }
}

/// The most bytes that any object has.
const LONGEST: usize = usize::MAX / 2;

impl Text {
    /// The text, at most `limit` bytes long.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a longer one, or what is no UTF-8.
    pub fn text(self, length: usize, limit: usize, name: &str) -> Result<String> {
        let bytes = self.read(length, limit, name)?.into_iter().map(c_char::cast_unsigned).collect();
        String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Error::new(Kind::BadRequest, format!("{name} is no UTF-8 from byte {at}"))
        })
    }
}

impl OptText {
    /// The text, where there is one: null or of the length 0 is none.
    ///
    /// # Errors
    /// As [`Text::text`]; also [`Kind::NullArgument`] for null with a length.
    pub fn text(self, length: usize, limit: usize, name: &str) -> Result<Option<String>> {
        if length == 0 {
            return Ok(None);
        }
        In(self.0).text(length, limit, name).map(Some)
    }
}

impl<T: Copy> Buffer<T> {
    /// Writes `values` from `at` on; the caller has compared the capacity.
    fn write(self, at: usize, values: &[T]) {
        // SAFETY: it is neither null nor misaligned, and the header says that it has room for its capacity, in
        // which `at + values.len()` lies (checked by the callers below).
        unsafe { self.0.add(at).copy_from(values.as_ptr(), values.len()) };
    }

    /// Whether there is a buffer; null with a capacity is refused.
    fn is_there(self, capacity: usize) -> Result<bool> {
        match (self.0.is_null(), capacity) {
            (true, 0) => Ok(false),
            (true, _) => Err(Error::new(Kind::NullArgument, "the buffer is null and has a capacity")),
            (false, _) if capacity > LONGEST / size_of::<T>().max(1) => {
                Err(Error::new(Kind::BadRequest, format!("a buffer has a capacity of {capacity}")))
            }
            (false, _) => Ok(true),
        }
    }

    /// Fills the buffer with `values`, where there is one.
    ///
    /// # Errors
    /// [`Kind::TooSmall`] where it does not hold them: nothing is written then.
    pub fn fill(self, capacity: usize, values: &[T]) -> Result<()> {
        if !self.is_there(capacity)? {
            return Ok(());
        }
        if capacity < values.len() {
            return Err(too_small(capacity, values.len()));
        }
        self.write(0, values);
        Ok(())
    }

    /// Fills the buffer with rows, each `stride` behind the one before; what lies between stays.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a stride below a row, [`Kind::TooSmall`] where the buffer does not hold them.
    pub fn fill_rows(self, capacity: usize, stride: usize, row: usize, values: &[T]) -> Result<()> {
        let rows = values.len().checked_div(row).unwrap_or(0);
        if stride < row {
            let message = format!("the stride is {stride}; a row of the picture has {row}");
            return Err(Error::new(Kind::BadRequest, message));
        }
        let needed = rows.checked_sub(1).and_then(|before| before.checked_mul(stride)?.checked_add(row));
        let needed = needed.ok_or_else(|| Error::new(Kind::BadRequest, "the stride is too large"))?;
        if !self.is_there(capacity)? || capacity < needed {
            return Err(too_small(capacity, needed));
        }
        values.chunks_exact(row).enumerate().for_each(|(y, values)| self.write(y * stride, values));
        Ok(())
    }
}

impl TextBuffer {
    /// Writes a text and a NUL, where there is a buffer; `length` tells the bytes of the text without the NUL.
    ///
    /// # Errors
    /// [`Kind::TooSmall`] where it does not hold both: it is the empty text then.
    pub fn say(self, capacity: usize, length: Out<usize>, text: &str) -> Result<()> {
        length.set(text.len());
        if !self.is_there(capacity)? {
            return Ok(());
        }
        if capacity <= text.len() {
            if capacity > 0 {
                self.write(0, &[0]);
            }
            return Err(too_small(capacity, text.len() + 1));
        }
        let bytes: Vec<c_char> = text.bytes().map(u8::cast_signed).collect();
        self.write(0, &bytes);
        self.write(text.len(), &[0]);
        Ok(())
    }
}

fn too_small(capacity: usize, needed: usize) -> Error {
    Error::new(Kind::TooSmall, format!("the buffer holds {capacity}; {needed} are needed"))
}
