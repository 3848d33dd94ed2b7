//! Pages by key, never by offset. A token holds the last key and a hash of the filters, so that it fits only its own list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::wire::Violations;

/// When the caller names no size.
pub const PAGE_SIZE_DEFAULT: i64 = 50;
/// Whatever size the caller names.
pub const PAGE_SIZE_MAX: i64 = 1_000;

const FILTER_BYTES: usize = 8;

/// A page to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many rows at most.
    pub size: i64,
    /// The last key of the page before; None for the first page.
    pub after: Option<String>,
    filter: [u8; FILTER_BYTES],
}

/// One page of rows, and the key of its last when there may be more.
#[derive(Debug, Clone)]
pub struct Paged<T> {
    /// In the order of the list.
    pub rows: Vec<T>,
    /// For the next page; empty at the end.
    pub next_page_token: String,
}

impl Page {
    /// Reads size and token; `filters` is whatever else shapes the list.
    pub fn parse(violations: &mut Violations, size: i32, token: &str, filters: &str) -> Option<Self> {
        let size = match size {
            ..0 => {
                violations.add("page_size", "must not be negative");
                return None;
            }
            0 => PAGE_SIZE_DEFAULT,
            size => i64::from(size).min(PAGE_SIZE_MAX),
        };
        let filter = filter_hash(filters);
        if token.is_empty() {
            return Some(Self { size, after: None, filter });
        }
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
            let (head, key) = bytes.split_at_checked(FILTER_BYTES)?;
            if head == filter { String::from_utf8(key.to_vec()).ok() } else { None }
        };
        match read() {
            Some(key) => Some(Self { size, after: Some(key), filter }),
            None => {
                violations.add("page_token", "must be one that this list answered, with the same filters");
                None
            }
        }
    }

    /// The last key, parsed. A token of ours always parses; one that was forged is a violation.
    pub fn after_as<T: std::str::FromStr>(&self, violations: &mut Violations) -> Option<T> {
        let key = self.after.as_ref()?;
        violations.check("page_token", key.parse().map_err(|_| "must be one that this list answered"))
    }

    /// How many rows to fetch to know whether there are more.
    pub fn fetch_limit(&self) -> i64 {
        self.size + 1
    }

    /// Cuts the extra row off, and makes the token from the key of the last that stays.
    pub fn close<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Paged<T> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next_page_token = match rows.last() {
            Some(last) if more => self.token(&key(last)),
            _ => String::new(),
        };
        Paged { rows, next_page_token }
    }

    fn token(&self, key: &str) -> String {
        let mut bytes = self.filter.to_vec();
        bytes.extend_from_slice(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn filter_hash(filters: &str) -> [u8; FILTER_BYTES] {
    let digest = Sha256::digest(filters.as_bytes());
    let mut hash = [0; FILTER_BYTES];
    hash.iter_mut().zip(digest.iter()).for_each(|(place, byte)| *place = *byte);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: i32, token: &str, filters: &str) -> Result<Page, Violations> {
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, size, token, filters);
        violations.into_result(page)
    }

    #[test]
    fn a_token_fits_only_its_own_list() {
        let first = page(2, "", "a").unwrap();
        let paged = first.close(vec![1, 2, 3], ToString::to_string);
        assert_eq!(paged.rows, [1, 2]);
        assert_eq!(page(2, &paged.next_page_token, "a").unwrap().after.as_deref(), Some("2"));
        assert!(page(2, &paged.next_page_token, "b").is_err());
        assert!(page(2, "forged!", "a").is_err());
    }

    #[test]
    fn the_last_page_has_no_token() {
        let paged = page(2, "", "").unwrap().close(vec![1, 2], ToString::to_string);
        assert!(paged.next_page_token.is_empty());
    }

    #[test]
    fn sizes_are_clamped_or_refused() {
        assert_eq!(page(0, "", "").unwrap().size, 50);
        assert_eq!(page(5_000, "", "").unwrap().size, 1_000);
        assert!(page(-1, "", "").is_err());
    }
}
