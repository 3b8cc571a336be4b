//! The import graph of a crate's files, derived from the paths in the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// A module: its path from the root of the crate.
type Module = Vec<String>;

/// The modules of a crate, each with its own file, and their imports.
#[derive(Default)]
pub(crate) struct Imports {
    modules: BTreeMap<Module, Source>,
}

#[derive(Default)]
struct Source {
    /// Imported paths that begin with `crate`, `self` or `super`, resolved from the root.
    paths: Vec<Vec<String>>,
    /// Names that the module re-exports, with their original paths.
    exports: BTreeMap<String, Vec<String>>,
}

impl Imports {
    /// Reads all files below the `src` of a package. Unit tests are excluded: their imports are not
    /// restricted.
    pub(crate) fn read(src: &Path, files: &[std::path::PathBuf]) -> Self {
        let mut imports = Self::default();
        for file in files {
            let relative = file.strip_prefix(src).expect("a file below src").with_extension("");
            let mut module: Module =
                relative.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            let is_root = matches!(module.last().map(String::as_str), Some("lib" | "mod"));
            if module == ["main"] || module.first().is_some_and(|name| name == "bin") {
                continue;
            }
            if is_root {
                module.pop();
            }
            if module.last().is_some_and(|name| name == "tests") {
                continue;
            }
            let text = std::fs::read_to_string(file).expect("a source file");
            let parsed = syn::parse_file(&text).expect("a source file that compiles");
            let mut reader = Reader { module: module.clone(), source: Source::default() };
            reader.visit_file(&parsed);
            imports.modules.insert(module, reader.source);
        }
        imports
    }

    /// Returns the module to which a path resolves, through re-exports.
    fn target(&self, path: &[String]) -> Option<&Module> {
        let mut path = path.to_vec();
        // A re-export may refer to another re-export. No chain of re-exports has more than 8 links.
        for _ in 0..8 {
            let length = (0..=path.len())
                .rev()
                .find(|length| self.modules.contains_key(&path[..*length]))?;
            let (module, source) = self.modules.get_key_value(&path[..length])?;
            match path.get(length).and_then(|name| source.exports.get(name)) {
                Some(origin) => path = [origin, &path[length + 1..]].concat(),
                None => return Some(module),
            }
        }
        None
    }

    /// Returns the imports of each file. A file and the files in its own folder count as one unit,
    /// so imports between them are excluded.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let related =
            |one: &Module, other: &Module| one.starts_with(other) || other.starts_with(one);
        let edge = |(module, source): (_, &Source)| {
            let targets = source.paths.iter().filter_map(|path| self.target(path));
            (module, targets.filter(|target| !related(module, target)).collect())
        };
        self.modules.iter().map(edge).collect()
    }

    /// Returns the groups of files that import each other, directly or indirectly.
    pub(crate) fn cycles(&self) -> Vec<Vec<String>> {
        let edges = self.edges();
        let reached: BTreeMap<&Module, BTreeSet<&Module>> = edges
            .keys()
            .map(|&start| {
                let (mut seen, mut ahead) = (BTreeSet::new(), vec![start]);
                while let Some(module) = ahead.pop() {
                    ahead.extend(edges[module].iter().filter(|target| seen.insert(**target)));
                }
                (start, seen)
            })
            .collect();
        let mut cycles = BTreeSet::new();
        for (module, others) in &reached {
            let cycle: BTreeSet<_> =
                others.iter().filter(|other| reached[**other].contains(module)).collect();
            if !cycle.is_empty() {
                cycles
                    .insert(cycle.into_iter().map(|module| module.join("::")).collect::<Vec<_>>());
            }
        }
        cycles.into_iter().collect()
    }

    /// Returns one line for each file of a cycle, with the other files of the cycle that it
    /// imports.
    pub(crate) fn within(&self, cycle: &[String]) -> Vec<String> {
        let edges = self.edges();
        let inside = |module: &Module| cycle.contains(&module.join("::"));
        let lines = edges.iter().filter(|(module, _)| inside(module)).map(|(module, targets)| {
            let targets: Vec<_> = targets
                .iter()
                .filter(|target| inside(target))
                .map(|target| target.join("::"))
                .collect();
            format!("  {} → {}", module.join("::"), targets.join(", "))
        });
        lines.collect()
    }
}

struct Reader {
    module: Module,
    source: Source,
}

impl Reader {
    /// Resolves a path from the root of the crate. Returns `None` if it refers to another crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "super" => drop(base.pop()),
                "crate" | "self" => {}
                _ => break,
            }
            rest = after;
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn import(&mut self, mut path: Vec<String>, export: Option<String>) {
        // `pub use child::Name` is relative to the module.
        if export.is_some() && !matches!(path[0].as_str(), "crate" | "self" | "super") {
            path.insert(0, "self".to_owned());
        }
        let Some(path) = self.absolute(&path) else { return };
        if let Some(name) = export {
            self.source.exports.insert(name, path.clone());
        }
        self.source.paths.push(path);
    }

    fn tree(&mut self, tree: &UseTree, before: &[String], exported: bool) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string()), exported),
            UseTree::Name(name) if name.ident == "self" => {
                self.import(before.to_vec(), exported.then(|| before.last().cloned()).flatten());
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.import(with(name.clone()), exported.then_some(name));
            }
            UseTree::Rename(rename) => {
                self.import(
                    with(rename.ident.to_string()),
                    exported.then(|| rename.rename.to_string()),
                );
            }
            UseTree::Glob(_) => self.import(before.to_vec(), None),
            UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.tree(item, before, exported));
            }
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|condition| condition.is_ident("test")))
    })
}

impl<'f> Visit<'f> for Reader {
    fn visit_item(&mut self, item: &'f Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'f ItemMod) {
        if let Some((_, items)) = &item.content {
            for item in items {
                self.visit_item(item);
            }
        }
    }

    fn visit_item_use(&mut self, item: &'f ItemUse) {
        self.tree(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'f syn::Path) {
        let names: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.import(names, None);
        }
        visit::visit_path(self, path);
    }
}
