//! The cluster, as far as commands ask it or write to it. What they make of the answers is pure, so that a map of paths
//! to texts can stand in for an API server.

pub mod client;
pub mod item;
pub mod kinds;
pub mod policies;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The API server.
pub trait Api {
    /// What is at a path; none where there is nothing.
    ///
    /// # Errors
    /// Why there is no answer.
    fn get(&self, path: &str) -> Result<Option<String>, String>;

    /// Writes something.
    ///
    /// # Errors
    /// Why it was not written.
    fn write(&self, how: Write, path: &str, body: &Value) -> Result<Written, String>;
}

/// How something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new object.
    Create,
    /// A merge patch.
    Merge,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It is there now.
    Done(Value),
    /// It was there before.
    Exists,
}

/// The path of Bailiwick's API.
pub const BAILIWICK: &str = "/apis/bailiwick.dev/v1alpha1";

/// An object that is needed.
///
/// # Errors
/// Why there is none, or that it can't be read.
pub fn needed<T: DeserializeOwned>(api: &dyn Api, path: &str, what: &str) -> Result<T, String> {
    let text = api.get(path)?.ok_or_else(|| format!("there is no {what}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{what} can't be read: {error}"))
}

/// How many objects a page of a list has.
const PAGE: usize = 500;

/// Goes through a list, page by page, each item without its managedFields.
///
/// # Errors
/// Why there is no list, or what `each` says.
pub fn each_item(
    api: &dyn Api,
    path: &str,
    each: &mut dyn FnMut(item::Item) -> Result<(), String>,
) -> Result<(), String> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut next = format!("{path}{joint}limit={PAGE}");
    loop {
        let text = api
            .get(&next)?
            .ok_or_else(|| format!("the cluster has no {path}"))?;
        let (items, token) = item::page(&text).map_err(|it| format!("{path} can't be read: {it}"))?;
        for it in items {
            each(it)?;
        }
        match token {
            Some(token) => next = format!("{path}{joint}limit={PAGE}&continue={}", item::escaped(&token)),
            None => return Ok(()),
        }
    }
}

/// All objects of a list that can be read; the names of the others.
///
/// # Errors
/// Why there is no list.
pub fn list<T: DeserializeOwned>(api: &dyn Api, path: &str) -> Result<(Vec<T>, Vec<String>), String> {
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    each_item(api, path, &mut |it| {
        match serde_json::from_str(it.raw.get()) {
            Ok(object) => read.push(object),
            Err(_) => unread.push(it.name),
        }
        Ok(())
    })?;
    Ok((read, unread))
}
