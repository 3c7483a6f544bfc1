//! The table of objects that C holds: a handle is a place in it and the generation of what lies there.

use crate::pointer::Argument;
use kandinsky::{Error, Kind, Result};
use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// An object that C can hold.
pub trait Kept: Any + Send + Sync {
    /// What it is, in messages.
    const NAME: &'static str;
}

/// What C holds of a `T`: 32 bits of generation, 32 bits of place. 0 is none.
#[repr(transparent)]
pub struct Handle<T> {
    bits: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> Default for Handle<T> {
    fn default() -> Self {
        Self::from_bits(0)
    }
}

impl<T> Argument for Handle<T> {}

impl<T> Handle<T> {
    /// The handle of these bits, which need not be one.
    pub const fn from_bits(bits: u64) -> Self {
        Self { bits, of: PhantomData }
    }

    /// Its bits.
    pub const fn bits(self) -> u64 {
        self.bits
    }

    fn new(place: usize, generation: u32) -> Option<Self> {
        let place = u32::try_from(place).ok()?.checked_add(1)?;
        Some(Self::from_bits(u64::from(generation) << 32 | u64::from(place)))
    }

    fn place(self) -> Option<usize> {
        let place = u32::try_from(self.bits & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
        usize::try_from(place).ok()
    }

    fn generation(self) -> u32 {
        u32::try_from(self.bits >> 32).unwrap_or(0)
    }
}

impl<T: Kept> Handle<T> {
    /// A handle of a new object.
    ///
    /// # Errors
    /// [`Kind::OutOfMemory`] when there are as many as can be told apart.
    pub fn of(object: T) -> Result<Self> {
        Self::of_shared(Arc::new(object))
    }

    /// As [`Handle::of`], for an object that others hold, too.
    ///
    /// # Errors
    /// As [`Handle::of`].
    pub fn of_shared(object: Arc<T>) -> Result<Self> {
        let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
        let full = || Error::new(Kind::OutOfMemory, "there are too many objects");
        table
            .insert(object, T::NAME)
            .and_then(|(place, generation)| Self::new(place, generation))
            .ok_or_else(full)
    }

    /// The object. It lives as long as the reference, whoever frees the handle meanwhile.
    ///
    /// # Errors
    /// [`Kind::InvalidHandle`] for what is no handle of a `T` that lives.
    pub fn object(self) -> Result<Arc<T>> {
        let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(&table)?;
        let wrong = || invalid(format!("the handle is of {}, and {} was meant", entry.name, T::NAME));
        entry.object.clone().downcast().map_err(|_| wrong())
    }

    /// Takes the object out of the table: the handle is stale from now on.
    ///
    /// # Errors
    /// As [`Handle::object`].
    pub fn free(self) -> Result<Arc<T>> {
        let object = self.object()?;
        let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        self.entry(&table)?;
        table.remove(self.place().unwrap_or(usize::MAX));
        Ok(object)
    }

    fn entry(self, table: &Table) -> Result<&Entry> {
        if self.bits == 0 {
            return Err(invalid(format!("the handle is null, and {} was meant", T::NAME)));
        }
        let slot = self.place().and_then(|place| table.slots.get(place));
        let entry =
            slot.filter(|slot| slot.generation == self.generation()).and_then(|slot| slot.entry.as_ref());
        entry.ok_or_else(|| invalid(format!("the handle is stale or forged, and {} was meant", T::NAME)))
    }
}

fn invalid(message: String) -> Error {
    Error::new(Kind::InvalidHandle, message)
}

/// Objects that C holds now, for tests of leaks.
pub fn living() -> usize {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    table.slots.iter().filter(|slot| slot.entry.is_some()).count()
}

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

/// Held for a look or a change alone, never while an object works or goes.
#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

struct Entry {
    object: Arc<dyn Any + Send + Sync>,
    name: &'static str,
}

impl Table {
    fn insert(&mut self, object: Arc<dyn Any + Send + Sync>, name: &'static str) -> Option<(usize, u32)> {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                // Generations begin anywhere, so that a guessed handle is hardly ever one.
                let random = RandomState::new().hash_one(self.slots.len());
                let generation = u32::try_from(random & 0x3fff_ffff).unwrap_or(0);
                self.slots.push(Slot { generation, entry: None });
                self.slots.len() - 1
            }
        };
        let slot = self.slots.get_mut(place)?;
        slot.entry = Some(Entry { object, name });
        Some((place, slot.generation))
    }

    fn remove(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.entry = None;
        // A place whose generations are used up rests for ever.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(u8);
    struct Other;

    impl Kept for One {
        const NAME: &'static str = "one";
    }

    impl Kept for Other {
        const NAME: &'static str = "another";
    }

    #[test]
    fn a_handle_is_good_until_it_is_freed() {
        let handle = Handle::of(One(7)).unwrap();
        assert_eq!(handle.object().unwrap().0, 7);
        let held = handle.free().unwrap();
        assert_eq!(held.0, 7);
        for failure in [handle.object().err(), handle.free().err()] {
            assert_eq!(failure.unwrap().kind(), Kind::InvalidHandle);
        }
        // The place is used again under another generation.
        let next = Handle::of(One(8)).unwrap();
        assert!(next.bits() != handle.bits() && handle.object().is_err());
        next.free().unwrap();
    }

    #[test]
    fn null_forged_and_foreign_handles_are_refused() {
        let handle = Handle::of(One(7)).unwrap();
        let bits = handle.bits();
        for forged in [0, 1, bits ^ 1, bits ^ (1 << 32), bits ^ (1 << 63), u64::MAX, !bits] {
            assert_eq!(Handle::<One>::from_bits(forged).object().err().unwrap().kind(), Kind::InvalidHandle);
        }
        let foreign = Handle::<Other>::from_bits(bits);
        assert!(foreign.free().err().unwrap().to_string().contains("is of one"));
        handle.free().unwrap();
    }

    #[test]
    fn a_place_whose_generations_are_used_up_rests() {
        let mut table = Table::default();
        let (place, _) = table.insert(Arc::new(One(1)), "one").unwrap();
        table.slots[place].generation = u32::MAX;
        table.remove(place);
        assert_ne!(table.insert(Arc::new(One(2)), "one").unwrap().0, place);
    }
}
