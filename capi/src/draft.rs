//! The request object: settings as JSON, and the pictures in memory that they name.

use crate::handle::Kept;
use kandinsky::internal::limits;
use kandinsky::{Error, Input, Kind, Request, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A request in the making: its JSON, and the pictures in memory that the JSON names by their hash.
#[derive(Default)]
pub struct Draft(Mutex<Parts>);

#[derive(Default, Clone)]
pub(super) struct Parts {
    pub(super) json: Map<String, Value>,
    pictures: Vec<Input>,
}

impl Kept for Draft {
    const NAME: &'static str = "a request";
}

impl Draft {
    /// The request as it is now.
    pub(super) fn request(&self) -> Result<Request> {
        let Parts { json, pictures } = self.parts().clone();
        Ok(Request::from_object(&json)?.with_pictures(&pictures))
    }

    pub(super) fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// Changes the JSON, or leaves it as it was.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<()>,
    ) -> Result<()> {
        let mut json = self.json.clone();
        change(&mut json)?;
        // Of a start and of a mix, a part may still be missing.
        let whole = |name: &String| !["start", "mix"].contains(&name.as_str());
        let checkable = json.iter().filter(|(name, _)| whole(name));
        Request::from_object(&checkable.map(|(name, value)| (name.clone(), value.clone())).collect())?;
        self.json = json;
        Ok(())
    }

    pub(super) fn keep(&mut self, picture: Input) -> Result<()> {
        self.pictures.retain(|held| held.sha256() != picture.sha256());
        if self.pictures.len() >= limits::REQUEST_PICTURES {
            let message = format!("a request holds {} pictures at most", limits::REQUEST_PICTURES);
            return Err(Error::new(Kind::BadRequest, message));
        }
        self.pictures.push(picture);
        Ok(())
    }
}

/// JSON of anything that can be serialised.
pub(super) fn written(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(Kind::Internal, format!("no JSON: {e}")))
}
