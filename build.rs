//! With the feature `web`: compresses the page's files, and writes down where they are. Otherwise does nothing.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "web")]
    page::embed();
}

#[cfg(feature = "web")]
mod page {
    use std::{
        env,
        fmt::Write as _,
        fs,
        hash::{DefaultHasher, Hash, Hasher},
        io::Write,
        path::Path,
    };

    use flate2::{Compression, write::GzEncoder};

    const PAGE: &str = "src/web/page";

    /// Reads `assets.txt`: a line for each file, of its path in the browser, its path here, and its type.
    pub(crate) fn embed() {
        println!("cargo:rerun-if-changed={PAGE}");
        let root = env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
        let output = env::var("OUT_DIR").expect("cargo says where to write");
        let page = Path::new(&root).join(PAGE);
        let list = match env::var_os("CARGO_CFG_FUZZING") {
            // What takes bytes from outside is built without the page.
            Some(_) => String::new(),
            None => fs::read_to_string(page.join("assets.txt"))
                .expect("src/web/page/assets.txt lists the page's files"),
        };
        let mut source = String::from("/// All of them.\npub(super) static ASSETS: &[Asset] = &[\n");
        let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (at, line) in lines.enumerate() {
            let mut words = line.splitn(3, ' ');
            let (Some(path), Some(file), Some(kind)) = (words.next(), words.next(), words.next()) else {
                panic!("{PAGE}/assets.txt: {line:?} is not a path, a file and a type");
            };
            let file = page.join(file);
            let Ok(bytes) = fs::read(&file) else {
                // Said by itself, without the trace of a panic.
                eprintln!(
                    "\n{} is missing. Fetch what the page needs with:\n\n    npm ci --prefix {PAGE}\n",
                    file.display()
                );
                std::process::exit(1);
            };
            let compressed = Path::new(&output).join(format!("{at}.gz"));
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            let written = encoder.write_all(&bytes).and_then(|()| encoder.finish());
            fs::write(&compressed, written.expect("memory to compress into")).expect("a place to write to");
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            let tag = format!("\"{:016x}\"", hasher.finish());
            let _ = writeln!(
                source,
                "Asset {{ path: {path:?}, kind: {kind:?}, tag: {tag:?}, bytes: include_bytes!({file:?}), \
                 compressed: include_bytes!({compressed:?}) }},"
            );
        }
        source.push_str("];\n");
        fs::write(Path::new(&output).join("assets.rs"), source).expect("a place to write to");
    }
}
