//! What a failure of any crate is to who started the program: one kind, which is the exit code, and one sentence.

use kandinsky::{Error, Kind};
use kandinsky_export::Error as Export;
use kandinsky_models::Error as Model;

/// The kind of a failure: the engine's own, else what the crate says that it comes from.
pub fn kind(failure: &anyhow::Error) -> Kind {
    let own = failure.downcast_ref::<Error>().map(Error::kind);
    let export = || failure.downcast_ref::<Export>().map(kind_of_export);
    let model = || failure.downcast_ref::<Model>().map(kind_of_model);
    own.or_else(export).or_else(model).unwrap_or(Kind::Internal)
}

fn kind_of_model(failure: &Model) -> Kind {
    match failure {
        Model::NotAModel(_) => Kind::NoModel,
        Model::Io { .. } => Kind::Io,
        _ => Kind::BadModel,
    }
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
        assert_eq!(kind(&Model::NotAModel("x".into()).into()), Kind::NoModel);
        assert_eq!(kind(&anyhow::anyhow!("nobody's")), Kind::Internal);
        assert_eq!(kind(&anyhow::Error::from(Error::new(Kind::Io, "x")).context("while y")), Kind::Io);
    }
}
