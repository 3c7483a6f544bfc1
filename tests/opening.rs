//! Opening graphs: each text is decoded once, what is open needs no file, and what changed on disk is refused.

use kandinsky::{Engine, Kind, Observer, Request, RuntimeOptions};
use kandinsky_testing::RUNTIMES;
use kandinsky_testing::golden::directory;
use kandinsky_testing::model;
use std::path::Path;

fn request() -> Request {
    Request::text_to_image("a red cat").seed(3).steps(2).prior_steps(2)
}

/// The tiny model in a folder of its own, opened.
fn engine(folder: &Path, runtime: &str) -> Engine {
    if !folder.exists() {
        model::export(&directory(), folder);
    }
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
    Engine::open_with(folder, &options).unwrap()
}

fn decoded(engine: &Engine) -> u64 {
    engine.with_networks(|networks| Ok(networks.decoded())).unwrap()
}

#[test]
fn a_graph_is_decoded_once_for_all_requests() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = folder.path().join("tiny");
    for runtime in RUNTIMES {
        let engine = engine(&tiny, runtime);
        engine.plan(&request()).unwrap();
        assert_eq!(decoded(&engine), 8, "{runtime}: a plan decodes the graphs of its request");
        for request in [request(), request().seed(4), request().size(96, 64).count(2)] {
            engine.run_all(&request, &mut Observer::default()).unwrap();
            assert_eq!((decoded(&engine), engine.opened().len()), (8, 8), "{runtime}");
        }
        // Graphs that were closed are opened again without being decoded.
        engine
            .with_networks(|networks| {
                networks.close();
                Ok(())
            })
            .unwrap();
        engine.run(request()).unwrap();
        assert_eq!((decoded(&engine), engine.opened().len()), (8, 8), "{runtime}");
    }
}

#[test]
fn what_is_open_draws_without_its_files() {
    for runtime in RUNTIMES {
        let folder = tempfile::tempdir().unwrap();
        let tiny = folder.path().join("tiny");
        let engine = engine(&tiny, runtime);
        let before = engine.run(request()).unwrap();
        for component in engine.opened() {
            let graph = &engine.manifest().components[component.name()].graph;
            std::fs::remove_file(tiny.join(&graph.path)).unwrap();
        }
        assert_eq!(engine.run(request()).unwrap().bytes(), before.bytes(), "{runtime}");
    }
}

#[test]
fn a_text_that_changed_after_it_was_decoded_is_refused() {
    for runtime in RUNTIMES {
        let folder = tempfile::tempdir().unwrap();
        let tiny = folder.path().join("tiny");
        let engine = engine(&tiny, runtime);
        engine.plan(&request()).unwrap();
        let graph = tiny.join(&engine.manifest().components["prior_step"].graph.path);
        let mut bytes = std::fs::read(&graph).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::remove_file(&graph).unwrap();
        std::fs::write(&graph, bytes).unwrap();
        let error = engine.run(request()).unwrap_err();
        assert_eq!(error.kind(), Kind::BadModel, "{runtime}: {error}");
    }
}
