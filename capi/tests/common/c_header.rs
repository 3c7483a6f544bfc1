//! The C interface as its source declares it (`exported!` in `capi/src`), and what is generated from it: the header,
//! its page in the docs, the bindings of the tests, the lines of the ABI snapshot.

use kandinsky::Kind;
use kandinsky_capi::constants::CONSTANTS;
use proc_macro2::TokenStream;
use quote::ToTokens;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use syn::parse::{Parse, ParseStream};

/// Files of `capi/src` in the order of the header, with what they are about.
const FILES: [(&str, &str); 6] = [
    ("library", "The library"),
    ("engine", "Engines"),
    ("request", "Requests"),
    ("picture", "Pictures"),
    ("job", "Jobs"),
    ("error", "Errors"),
];

/// Rust's names of what C has handles of.
const HANDLES: [(&str, &str, &str); 5] = [
    ("Shared", "kd_engine", "a model folder on a runtime"),
    ("Draft", "kd_request", "what to draw"),
    ("Held", "kd_picture", "pixels, and the request that drew them"),
    ("Job", "kd_job", "a request at work"),
    ("Failure", "kd_error", "what there is to say of a failed call"),
];

/// Callbacks: Rust's name, C's name.
const CALLBACKS: [(&str, &str); 3] = [
    ("Progressed", "kd_progress_callback"),
    ("Previewed", "kd_preview_callback"),
    ("Logged", "kd_log_callback"),
];

pub struct Parameter {
    pub name: String,
    /// C's type, with a space behind it unless it ends in `*`.
    pub c: String,
    /// The type in the tests' bindings.
    pub rust: String,
    pub nullable: bool,
}

pub struct Function {
    pub name: String,
    pub docs: Vec<String>,
    pub parameters: Vec<Parameter>,
}

pub struct Section {
    pub title: &'static str,
    pub functions: Vec<Function>,
}

pub struct Callback {
    pub name: &'static str,
    pub docs: Vec<String>,
    pub parameters: Vec<Parameter>,
}

pub struct Interface {
    pub sections: Vec<Section>,
    pub callbacks: Vec<Callback>,
}

pub fn root() -> PathBuf {
    kandinsky_testing::root()
}

impl Interface {
    pub fn read() -> Self {
        let mut callbacks = Vec::new();
        let sections = FILES.map(|(file, title)| {
            let text = std::fs::read_to_string(root().join(format!("capi/src/{file}.rs"))).unwrap();
            let file = syn::parse_file(&text).unwrap();
            let mut functions = Vec::new();
            for item in &file.items {
                match item {
                    syn::Item::Macro(item) if item.mac.path.is_ident("exported") => {
                        functions.extend(item.mac.parse_body::<Exported>().unwrap().0);
                    }
                    syn::Item::Type(item) => callbacks.extend(callback(item)),
                    _ => {}
                }
            }
            assert!(!functions.is_empty(), "{title} has no functions");
            Section { title, functions }
        });
        assert_eq!(callbacks.len(), CALLBACKS.len());
        Self { sections: sections.into(), callbacks }
    }

    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.sections.iter().flat_map(|section| &section.functions)
    }
}

/// The body of `exported!`.
struct Exported(Vec<Function>);

impl Parse for Exported {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut functions = Vec::new();
        while !input.is_empty() {
            let docs = docs(&input.call(syn::Attribute::parse_outer)?);
            input.parse::<syn::Token![fn]>()?;
            let name = input.parse::<syn::Ident>()?.to_string();
            let inner;
            syn::parenthesized!(inner in input);
            let arguments = inner
                .parse_terminated(|one| one.parse::<syn::PatType>(), syn::Token![,])
                .map_err(|_| syn::Error::new(inner.span(), "arguments are `name: Type`"))?;
            let mut parameters: Vec<_> =
                arguments.iter().map(|one| parameter(one.pat.to_token_stream(), &one.ty)).collect();
            input.parse::<syn::Token![=]>()?;
            input.parse::<syn::Path>()?;
            if input.parse::<Option<syn::Token![,]>>()?.is_some() {
                input.parse::<syn::Ident>()?;
                let ty: syn::Type = syn::parse_quote!(OptOut<Handle<Failure>>);
                parameters.push(parameter(quote::quote!(error), &ty));
            }
            input.parse::<syn::Token![;]>()?;
            functions.push(Function { name, docs, parameters });
        }
        Ok(Self(functions))
    }
}

fn callback(item: &syn::ItemType) -> Option<Callback> {
    let (_, name) = CALLBACKS.iter().find(|(rust, _)| item.ident == *rust)?;
    let syn::Type::BareFn(signature) = &*item.ty else { panic!("{} is no function", item.ident) };
    let parameters = signature.inputs.iter().map(|input| {
        let (name, _) = input.name.as_ref().expect("parameters of callbacks have names");
        parameter(name.to_token_stream(), &input.ty)
    });
    Some(Callback { name, docs: docs(&item.attrs), parameters: parameters.collect() })
}

fn docs(attributes: &[syn::Attribute]) -> Vec<String> {
    let line = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                Some(text.value().strip_prefix(' ').unwrap_or_default().to_owned())
            }
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(line).collect()
}

fn parameter(name: TokenStream, ty: &syn::Type) -> Parameter {
    let spelled = ty.to_token_stream().to_string().replace(' ', "");
    let (c, rust, nullable) = types(&spelled);
    Parameter { name: name.to_string(), c, rust, nullable }
}

/// C's type, the bindings' type, and whether null is allowed, of a Rust type.
fn types(ty: &str) -> (String, String, bool) {
    let inside =
        |outer: &str| ty.strip_prefix(outer).and_then(|rest| rest.strip_prefix('<')?.strip_suffix('>'));
    let plain = |c: &str, rust: &str| (format!("{c} "), rust.to_owned(), false);
    if let Some(of) = inside("Handle") {
        let (_, c, _) = HANDLES.iter().find(|(rust, ..)| *rust == of).unwrap_or_else(|| panic!("{of}"));
        return plain(c, "u64");
    }
    for (outer, constness, nullable) in [
        ("Out", "", false),
        ("OptOut", "", true),
        ("Buffer", "", true),
        ("In", "const ", false),
        ("OptIn", "const ", true),
    ] {
        if let Some(of) = inside(outer) {
            let (c, rust, _) = types(of);
            let pointer = if constness.is_empty() { "*mut" } else { "*const" };
            return (format!("{constness}{}*", c), format!("{pointer} {rust}"), nullable);
        }
    }
    match ty {
        "u8" => plain("uint8_t", "u8"),
        "u32" => plain("uint32_t", "u32"),
        "u64" => plain("uint64_t", "u64"),
        "usize" => plain("size_t", "usize"),
        "c_char" => plain("char", "c_char"),
        "Text" => types("In<c_char>"),
        "*constc_char" => types("In<c_char>"),
        "OptText" => types("OptIn<c_char>"),
        "TextBuffer" => types("Buffer<c_char>"),
        "UserData" => ("void *".to_owned(), "*mut c_void".to_owned(), true),
        "ProgressCallback" => ("kd_progress_callback ".to_owned(), "Option<Progress>".to_owned(), true),
        "PreviewCallback" => ("kd_preview_callback ".to_owned(), "Option<Preview>".to_owned(), true),
        "LogCallback" => ("kd_log_callback ".to_owned(), "Option<Log>".to_owned(), true),
        other => panic!("{other} has no type in C"),
    }
}

/// Every constant: name, value, meaning.
pub fn statuses() -> Vec<(String, u32, &'static str)> {
    let mut all = vec![("KD_OK".to_owned(), 0, "success")];
    all.extend(Kind::ALL.iter().map(|kind| {
        let meaning = match kind {
            Kind::BadRequest => "an argument or the request is not valid",
            Kind::Exists => "the file exists; `replace` replaces it",
            Kind::Cancelled => "the job was cancelled",
            kind => kind.meaning(),
        };
        (format!("KD_{}", kind.name().to_uppercase()), kind.exit_code().into(), meaning)
    }));
    all.sort_by_key(|(_, value, _)| *value);
    all
}

/// `include/kandinsky.h`.
pub fn header(interface: &Interface) -> String {
    let mut out = String::new();
    let program = std::fs::read_to_string(root().join("capi/examples/c/draw.c")).unwrap();
    assert!(!program.contains("*/"), "the program of the header has no comments");
    out += "/* kandinsky.h: pictures from text, in C. Generated from capi/src; do not edit.\n *\n";
    comment(&mut out, "", program.lines().map(|line| format!("    {line}")));
    out += " *\n * cc draw.c $(pkg-config --cflags --libs kandinsky)\n *\n";
    let prose = std::fs::read_to_string(root().join("capi/src/header.txt")).unwrap();
    comment(&mut out, "", prose.lines().map(str::to_owned));
    out += " */\n#ifndef KANDINSKY_H\n#define KANDINSKY_H\n\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\n";
    for (name, value) in ["MAJOR", "MINOR", "PATCH"].iter().zip(env!("CARGO_PKG_VERSION").split('.')) {
        writeln!(out, "#define KD_VERSION_{name} {value}").unwrap();
    }
    out += "\n/* A pointer that may be null. */\n#define KD_NULLABLE\n/* A text literal or NUL-ended text, and its length. */\n\
            #define KD_TEXT(text) (text), strlen(text)\n/* Waits without end. */\n#define KD_FOREVER UINT64_MAX\n\n\
            #ifdef __cplusplus\nextern \"C\" {\n#endif\n\n/* What every function returns. */\ntypedef uint32_t kd_status;\n";
    for (name, value, meaning) in statuses() {
        writeln!(out, "#define {name} {value}u /* {meaning} */").unwrap();
    }
    out += "\n/* States of a job, and levels of messages. */\n";
    for (name, value, meaning) in CONSTANTS {
        writeln!(out, "#define {name} {value}u /* {meaning} */").unwrap();
    }
    out += "\n/* Handles; 0 is none. */\n";
    for (_, name, about) in HANDLES {
        writeln!(out, "typedef uint64_t {name}; /* {about} */").unwrap();
    }
    for callback in &interface.callbacks {
        out += "\n";
        block(&mut out, &callback.docs);
        writeln!(out, "typedef void (*{})({});", callback.name, c_parameters(&callback.parameters)).unwrap();
    }
    for section in &interface.sections {
        writeln!(out, "\n/* ---- {} ---- */", section.title).unwrap();
        for function in &section.functions {
            out += "\n";
            block(&mut out, &function.docs);
            writeln!(out, "{}", prototype(function)).unwrap();
        }
    }
    out += "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
    out
}

/// A function as C declares it, wrapped.
pub fn prototype(function: &Function) -> String {
    let line = format!("kd_status {}({});", function.name, c_parameters(&function.parameters));
    if line.len() <= 110 {
        return line;
    }
    let parameters: Vec<_> = function.parameters.iter().map(c_parameter).collect();
    format!("kd_status {}(\n    {});", function.name, parameters.join(",\n    "))
}

fn c_parameters(parameters: &[Parameter]) -> String {
    parameters.iter().map(c_parameter).collect::<Vec<_>>().join(", ")
}

fn c_parameter(parameter: &Parameter) -> String {
    let nullable = if parameter.nullable { "KD_NULLABLE " } else { "" };
    format!("{nullable}{}{}", parameter.c, parameter.name)
}

fn comment(out: &mut String, indent: &str, lines: impl Iterator<Item = String>) {
    for line in lines {
        *out += format!("{indent} * {line}").trim_end();
        *out += "\n";
    }
}

fn block(out: &mut String, docs: &[String]) {
    match docs {
        [one] => writeln!(out, "/* {one} */").unwrap(),
        _ => {
            *out += "/*\n";
            comment(out, "", docs.iter().cloned());
            *out += " */\n";
        }
    }
}

/// `docs/c_api.md`.
pub fn page(interface: &Interface) -> String {
    let count = interface.functions().count();
    let mut out = format!(
        "# The C interface\n\nGenerated from `capi/include/kandinsky.h`'s source, `capi/src`; the [guide](c_guide.md) says how to \
         use it. {count} functions.\n\n## Statuses\n\n| status | code | meaning |\n| --- | --- | --- |\n"
    );
    for (name, value, meaning) in statuses() {
        writeln!(out, "| `{name}` | {value} | {meaning} |").unwrap();
    }
    out += "\n## States and levels\n\n| constant | value | meaning |\n| --- | --- | --- |\n";
    for (name, value, meaning) in CONSTANTS {
        writeln!(out, "| `{name}` | {value} | {meaning} |").unwrap();
    }
    out += "\n## Handles\n\n| handle | of |\n| --- | --- |\n";
    for (_, name, about) in HANDLES {
        writeln!(out, "| `{name}` | {about} |").unwrap();
    }
    out += "\n## Callbacks\n";
    for callback in &interface.callbacks {
        let typedef = format!("typedef void (*{})({});", callback.name, c_parameters(&callback.parameters));
        entry(&mut out, callback.name, &typedef, &callback.docs);
    }
    for section in &interface.sections {
        writeln!(out, "\n## {}", section.title).unwrap();
        for function in &section.functions {
            entry(&mut out, &function.name, &prototype(function), &function.docs);
        }
    }
    out += "\n## Keys of a request\n\n`*` is a place in a list, from 0; lists grow by one.\n\n| key | takes | what it is |\n\
            | --- | --- | --- |\n";
    for key in kandinsky::internal::request::keys::KEYS.iter() {
        writeln!(out, "| `{}` | {} | {} |", key.path, key.form.name(), key.about).unwrap();
    }
    out
}

fn entry(out: &mut String, name: &str, c: &str, docs: &[String]) {
    writeln!(out, "\n### {name}\n\n```c\n{c}\n```\n\n{}", docs.join("\n")).unwrap();
}

/// `tests/common/kd.rs`.
pub fn bindings(interface: &Interface) -> String {
    let mut out = String::from(
        "//! The C interface as C sees it, for tests in Rust. Generated from capi/src by capi/tests/c_header.rs.\n\n\
         use std::ffi::{c_char, c_void};\n\n",
    );
    let rust = |parameters: &[Parameter]| {
        let list: Vec<_> =
            parameters.iter().map(|one| format!("    {}: {},\n", one.name, one.rust)).collect();
        list.concat()
    };
    for (callback, name) in interface.callbacks.iter().zip(["Progress", "Preview", "Log"]) {
        writeln!(out, "pub type {name} = extern \"C\" fn(\n{});", rust(&callback.parameters)).unwrap();
    }
    for (name, value, _) in statuses() {
        writeln!(out, "pub const {name}: u32 = {value};").unwrap();
    }
    for (name, value, _) in CONSTANTS {
        writeln!(out, "pub const {name}: u32 = {value};").unwrap();
    }
    out += "\nunsafe extern \"C\" {\n";
    for function in interface.functions() {
        writeln!(out, "pub fn {}(\n{}) -> u32;", function.name, rust(&function.parameters)).unwrap();
    }
    out += "}\n\n/// A function by name, whether it takes an error object, and a call of it.\n\
            pub type Call = (&'static str, bool, fn(*mut u64) -> u32);\n\
            /// Every function by name, called with nulls and zeros and this error object, where it takes one.\n\
            pub const CALLS: &[Call] = &[\n";
    for function in interface.functions() {
        let arguments: Vec<_> = function.parameters.iter().map(nothing).collect();
        let takes =
            function.parameters.iter().any(|parameter| parameter.name == "error" && parameter.nullable);
        let (error, arguments) = (if takes { "error" } else { "_" }, arguments.join(", "));
        let name = &function.name;
        writeln!(out, "(\"{name}\", {takes}, |{error}| unsafe {{ {name}({arguments}) }}),").unwrap();
    }
    out += "];\n";
    formatted(&out)
}

/// The argument that is nothing.
fn nothing(parameter: &Parameter) -> &'static str {
    match parameter.rust.as_str() {
        "*mut u64" if parameter.name == "error" && parameter.nullable => "error",
        ty if ty.starts_with("*const") => "std::ptr::null()",
        ty if ty.starts_with("*mut") => "std::ptr::null_mut()",
        ty if ty.starts_with("Option") => "None",
        _ => "0",
    }
}

fn formatted(text: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt runs");
    rustfmt.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = rustfmt.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of the ABI: every function with its types, every constant with its value.
pub fn abi(interface: &Interface) -> Vec<String> {
    let squeezed = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<_> = interface.functions().map(|function| squeezed(prototype(function))).collect();
    lines.extend(interface.callbacks.iter().map(|callback| {
        squeezed(format!("typedef void (*{})({});", callback.name, c_parameters(&callback.parameters)))
    }));
    lines.extend(HANDLES.iter().map(|(_, name, _)| format!("typedef uint64_t {name};")));
    lines.extend(statuses().into_iter().map(|(name, value, _)| format!("#define {name} {value}u")));
    lines.extend(CONSTANTS.iter().map(|(name, value, _)| format!("#define {name} {value}u")));
    lines.sort();
    lines
}

/// Compares a file with what it should be, or writes it where `KANDINSKY_BLESS` is set.
pub fn compare(path: &Path, expected: &str) {
    let path = root().join(path);
    if std::env::var_os("KANDINSKY_BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let name = path.display();
    assert!(
        found == expected,
        "{name} is stale: run KANDINSKY_BLESS=1 cargo test --release --workspace --test c -- c_header"
    );
}
