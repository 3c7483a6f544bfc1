//! Model folders that tests make: the tiny checkpoint, synthesised and exported.

use kandinsky_export::{Checkpoint, Request, WeightSource};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The seed of the tiny checkpoint's weights.
pub const SEED: u64 = 0x4B41_4E44_494E_5359;

/// The tiny model, exported anew for the tests of a file.
pub static TINY: LazyLock<PathBuf> = LazyLock::new(|| {
    let tiny = scratch("tiny");
    export(&crate::root().join("tests/reference"), &tiny);
    tiny
});

/// The build folder's place for files of tests.
pub(crate) fn build_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let deps = program.ancestors().find(|folder| folder.ends_with("deps")).unwrap();
    let folder = deps.ancestors().nth(2).unwrap().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A path of this program of tests in the build folder, where nothing is. What a static holds is never dropped, so a
/// folder of the system's would stay for good.
pub fn scratch(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = build_folder().join(program.file_stem().unwrap()).join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// Exports the checkpoint of a reference directory (`checkpoint/`, else `configs/` with synthetic weights)
/// to `out`.
pub fn export(reference: &Path, out: &Path) {
    let stored = reference.join("checkpoint");
    let (folder, origin) = if stored.is_dir() {
        (stored, WeightSource::Files)
    } else {
        (reference.join("configs"), WeightSource::Synthetic(SEED))
    };
    export_from(&folder, origin, out);
}

/// Exports the checkpoint `folder`, with the constants that the program would compute.
pub fn export_from(folder: &Path, origin: WeightSource, out: &Path) {
    let mut request = Request::new(Checkpoint::find(folder).unwrap(), out);
    request.origin = origin;
    export_baked(&request);
}

/// Exports what a request asks for, with the constants that the program would compute.
pub fn export_baked(request: &Request) {
    let baked = kandinsky_export::export_then(request, &mut |_| Ok(()), &mut |folder| {
        kandinsky::internal::bake::constants(folder).map_err(Box::from)
    });
    baked.unwrap_or_else(|e| panic!("{e}"));
}

/// A copy of the config folders of a reference directory in which one config has another field.
pub fn changed_configs(reference: &Path, to: &Path, file: &str, field: &str, value: Value) -> PathBuf {
    let from =
        [reference.join("checkpoint"), reference.join("configs")].into_iter().find(|p| p.is_dir()).unwrap();
    copy(&from, to);
    let path = to.join(file);
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config[field] = value;
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    to.to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::write(&target, std::fs::read(&path).unwrap()).unwrap();
        }
    }
}
