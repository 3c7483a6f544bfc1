//! Draws the sheets of `docs/gallery.md`: one for each regime, with the bundled model.
//!
//! `cargo run --release --example gallery -- docs/gallery`

use kandinsky::{Blend, Compositing, Engine, Frame, Part, Picture, Request, Size};
use std::path::{Path, PathBuf};

type Done<T> = Result<T, Box<dyn std::error::Error>>;

/// What the sheets begin from.
const SUBJECTS: [&str; 3] = ["red apple", "сердце", "cat face"];

fn main() -> Done<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "docs/gallery".into()));
    std::fs::create_dir_all(&folder)?;
    let engine = Engine::open("models/emoji")?;
    println!("{}", engine.runtime());
    let mut subjects = Vec::new();
    for subject in SUBJECTS {
        subjects.push(engine.run(Request::text_to_image(subject).seed(0))?);
    }
    let [apple, heart, cat] = subjects.as_slice() else { return Err("three subjects are drawn".into()) };
    let sheets: [(&str, usize, Vec<Picture>); 6] = [
        ("variations", 4, variations(&engine, &subjects)?),
        ("fusion", 5, fusion(&engine, [apple, heart, cat])?),
        ("text_and_image", 4, text_and_image(&engine, heart)?),
        ("image_to_image", 5, image_to_image(&engine, [apple, cat])?),
        ("inpainting", 4, inpainting(&engine, [apple, cat])?),
        ("outpainting", 3, outpainting(&engine, [apple, heart])?),
    ];
    for (name, columns, pictures) in &sheets {
        sheet(&folder, name, pictures, *columns)?;
    }
    Ok(())
}

fn sheet(folder: &Path, name: &str, pictures: &[Picture], columns: usize) -> Done<()> {
    let file = folder.join(format!("{name}.png"));
    Picture::grid(pictures, columns)?.replace(&file)?;
    println!("{}", file.display());
    Ok(())
}

/// A picture and three variations of it, a row each.
fn variations(engine: &Engine, subjects: &[Picture]) -> Done<Vec<Picture>> {
    let mut pictures = Vec::new();
    for subject in subjects {
        pictures.push(subject.clone());
        for seed in 1..4 {
            pictures.push(engine.run(Request::variation(subject.clone()).seed(seed))?);
        }
    }
    Ok(pictures)
}

/// Two pictures at both ends and three mixes between them: by a sum, then along the sphere.
fn fusion(engine: &Engine, [apple, heart, cat]: [&Picture; 3]) -> Done<Vec<Picture>> {
    let mut pictures = Vec::new();
    for (a, b, blend) in [(apple, heart, Blend::Linear), (cat, apple, Blend::Spherical)] {
        pictures.push(a.clone());
        for share in [0.25, 0.5, 0.75] {
            let parts = [Part::picture(a.clone(), 1.0 - share), Part::picture(b.clone(), share)];
            pictures.push(engine.run(Request::default().mixed(parts, blend).seed(2))?);
        }
        pictures.push(b.clone());
    }
    Ok(pictures)
}

/// A picture, then with texts mixed in that also condition the decoder.
fn text_and_image(engine: &Engine, heart: &Picture) -> Done<Vec<Picture>> {
    let mut pictures = vec![heart.clone()];
    for text in ["red apple", "синее сердце", "cat face"] {
        let parts = [Part::picture(heart.clone(), 0.4), Part::text(text, 0.6)];
        pictures.push(engine.run(Request::mix(parts).prompt(text).seed(3))?);
    }
    Ok(pictures)
}

/// A picture, then changed towards a text with rising strength.
fn image_to_image(engine: &Engine, [apple, cat]: [&Picture; 2]) -> Done<Vec<Picture>> {
    let mut pictures = Vec::new();
    for (picture, text) in [(apple, "зелёное яблоко"), (cat, "blue heart")] {
        pictures.push(picture.clone());
        for strength in [0.3, 0.5, 0.7, 0.9] {
            pictures.push(engine.run(Request::text_to_image(text).edit(picture.clone(), strength).seed(1))?);
        }
    }
    Ok(pictures)
}

/// A picture, its hole, the hole painted without and with a prompt.
fn inpainting(engine: &Engine, [apple, cat]: [&Picture; 2]) -> Done<Vec<Picture>> {
    let mut pictures = Vec::new();
    for (picture, text) in [(apple, "red apple"), (cat, "cat face")] {
        let mask = right_part(picture.size())?;
        let grey = |(pixel, mask): (&[u8; 3], &[u8; 3])| if *mask == [255; 3] { [128; 3] } else { *pixel };
        let hole = picture.pixels().iter().zip(mask.pixels()).map(grey).collect();
        pictures.extend([picture.clone(), Picture::new(picture.size(), hole)?]);
        for prompt in ["", text] {
            let request = Request::text_to_image(prompt).inpaint(picture.clone(), mask.clone());
            pictures.push(engine.run(request.seam(Compositing { feather: 4, decoded: false }).seed(4))?);
        }
    }
    Ok(pictures)
}

/// White from three fifths of the width on.
fn right_part(size: Size) -> Done<Picture> {
    let level = |i: usize| if i % size.width > size.width * 3 / 5 { [255; 3] } else { [0; 3] };
    Ok(Picture::new(size, (0..size.width * size.height).map(level).collect())?)
}

/// A picture on a grey canvas, what lies around it without and with a prompt.
fn outpainting(engine: &Engine, [apple, heart]: [&Picture; 2]) -> Done<Vec<Picture>> {
    let mut pictures = Vec::new();
    for (picture, text) in [(apple, "red apple"), (heart, "сердце")] {
        let Size { width, height } = picture.size();
        let frame = Frame::Extend { left: 32, top: 0, right: 32, bottom: 0 };
        let canvas = |i: usize| {
            let (x, y) = (i % (width + 64), i / (width + 64));
            let inside = x.checked_sub(32).filter(|x| *x < width);
            inside.and_then(|x| picture.pixels().get(y * width + x)).copied().unwrap_or([128; 3])
        };
        let size = Size { width: width + 64, height };
        pictures.push(Picture::new(size, (0..size.width * size.height).map(canvas).collect())?);
        for prompt in ["", text] {
            let request = Request::text_to_image(prompt).outpaint(picture.clone(), frame).seed(5);
            pictures.push(engine.run(request)?);
        }
    }
    Ok(pictures)
}
