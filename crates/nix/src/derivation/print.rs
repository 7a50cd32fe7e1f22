//! Writes the ATerm of a derivation: for its file, and for its hashes with inputs replaced and outputs blanked.

use std::collections::{BTreeMap, BTreeSet};

use super::{Derivation, Output};
use crate::store_path::StoreDir;

/// The `.drv` file.
pub(super) fn print(derivation: &Derivation, store_dir: &StoreDir) -> Vec<u8> {
    let mut inputs = BTreeMap::new();
    for (path, outputs) in &derivation.input_derivations {
        inputs.insert(
            store_dir.join(path),
            outputs.iter().map(String::as_str).collect(),
        );
    }
    print_with(derivation, store_dir, &inputs, false)
}

/// The same with other names for the inputs and, where `blank`, without the outputs' paths.
pub(super) fn print_with(
    derivation: &Derivation,
    store_dir: &StoreDir,
    inputs: &BTreeMap<String, BTreeSet<&str>>,
    blank: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(b"Derive(");
    list(&mut out, &derivation.outputs, |out, (name, output)| {
        let [path, algorithm, hash] = fields(output, store_dir);
        let path = if blank { String::new() } else { path };
        group(
            out,
            &[
                name.as_bytes(),
                path.as_bytes(),
                algorithm.as_bytes(),
                hash.as_bytes(),
            ],
        );
    });
    out.push(b',');
    list(&mut out, inputs, |out, (input, outputs)| {
        out.push(b'(');
        string(out, input.as_bytes());
        out.push(b',');
        list(out, outputs, |out, name| string(out, name.as_bytes()));
        out.push(b')');
    });
    out.push(b',');
    list(&mut out, &derivation.input_sources, |out, path| {
        string(out, store_dir.join(path).as_bytes());
    });
    out.push(b',');
    string(&mut out, derivation.system.as_bytes());
    out.push(b',');
    string(&mut out, &derivation.builder);
    out.push(b',');
    list(&mut out, &derivation.args, |out, arg| string(out, arg));
    out.push(b',');
    list(&mut out, &derivation.env, |out, (name, value)| {
        let is_output = |name: &[u8]| {
            derivation
                .outputs
                .keys()
                .any(|output| output.as_bytes() == name)
        };
        let value = if blank && is_output(name) {
            &[][..]
        } else {
            value
        };
        group(out, &[name, value]);
    });
    out.push(b')');
    out
}

/// Path, algorithm and hash of an output as the file states them.
fn fields(output: &Output, store_dir: &StoreDir) -> [String; 3] {
    match output {
        Output::InputAddressed(path) => [store_dir.join(path), String::new(), String::new()],
        Output::Fixed {
            content_address,
            path,
        } => {
            let (method, hash) = (content_address.method(), content_address.hash());
            let algorithm = format!("{}{}", method.prefix(), hash.algorithm());
            [store_dir.join(path), algorithm, hash.bare_hex()]
        }
        Output::Floating { method, algorithm } => [
            String::new(),
            format!("{}{algorithm}", method.prefix()),
            String::new(),
        ],
        Output::Deferred => [String::new(), String::new(), String::new()],
        Output::Impure { method, algorithm } => [
            String::new(),
            format!("{}{algorithm}", method.prefix()),
            String::from("impure"),
        ],
    }
}

fn list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut item: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (position, value) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        item(out, value);
    }
    out.push(b']');
}

fn group(out: &mut Vec<u8>, strings: &[&[u8]]) {
    out.push(b'(');
    for (position, value) in strings.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        string(out, value);
    }
    out.push(b')');
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}
