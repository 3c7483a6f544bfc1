//! What a failure of any crate is to who started the program: one kind, which is the exit code, and one sentence.

use kandinsky::{Error, Kind};
use kandinsky_export::Error as Export;

/// The kind of a failure: the engine's own, else what the crate says that it comes from.
pub fn kind(failure: &anyhow::Error) -> Kind {
    let own = failure.downcast_ref::<Error>().map(Error::kind);
    let export = || failure.downcast_ref::<Export>().map(kind_of_export);
    own.or_else(export).unwrap_or(Kind::Internal)
}

fn kind_of_export(failure: &Export) -> Kind {
    match failure {
        Export::Exists(_) => Kind::Exists,
        Export::Cancelled => Kind::Cancelled,
        Export::Io { .. } => Kind::Io,
        Export::Drawing { .. } => Kind::Internal,
        _ => Kind::BadCheckpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_every_crate_has_its_kind() {
        assert_eq!(kind(&Error::new(Kind::NoModel, "x").into()), Kind::NoModel);
        assert_eq!(kind(&Export::Cancelled.into()), Kind::Cancelled);
        assert_eq!(kind(&anyhow::anyhow!("nobody's")), Kind::Internal);
        assert_eq!(kind(&anyhow::Error::from(Error::new(Kind::Io, "x")).context("while y")), Kind::Io);
    }
}
