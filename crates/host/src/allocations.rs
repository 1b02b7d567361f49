//! An allocator that counts. A program that is measured makes it its global one:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: tidemark_host::allocations::Counting = tidemark_host::allocations::Counting;
//!
//! let before = tidemark_host::allocations::counted().expect("it counts").allocations;
//! drop(Box::new(1));
//! assert!(tidemark_host::allocations::counted().expect("it counts").allocations > before);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED_BYTES: AtomicU64 = AtomicU64::new(0);
static FREED_BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, and a count of what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

/// What was counted since the program began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Calls that asked for memory; a block that grows or shrinks is one more.
    pub allocations: u64,
    /// Bytes that were asked for and not given back.
    pub live_bytes: u64,
}

/// What was counted; `None` in a program that does not count.
pub fn counted() -> Option<Counted> {
    // Freed first: what was freed had been allocated before.
    let freed = FREED_BYTES.load(Relaxed);
    let live_bytes = ALLOCATED_BYTES.load(Relaxed).saturating_sub(freed);
    let allocations = ALLOCATIONS.load(Relaxed);
    (allocations > 0).then_some(Counted { allocations, live_bytes })
}

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    ALLOCATED_BYTES.fetch_add(bytes as u64, Relaxed);
}

// SAFETY: Every call is handed to the system's allocator as it came, and what that returns is returned. Counting neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: The caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: As above. The system has zeroed pages that need not be touched, so this is not left to the default.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        FREED_BYTES.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: The caller's promises about the block, its layout and the new size are passed on.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREED_BYTES.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: The caller's promises about the block and its layout are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_counted_and_what_is_given_back_no_longer_lives() {
        assert_eq!(counted(), None, "this program does not count");
        let layout = Layout::from_size_align(100, 8).unwrap();
        let larger = Layout::from_size_align(300, 8).unwrap();
        // SAFETY: The layouts are not empty, blocks are given back once, with the layout that they have.
        let (grown, zeroed) = unsafe {
            let block = Counting.alloc(layout);
            (Counting.realloc(block, layout, 300), Counting.alloc_zeroed(layout))
        };
        assert_eq!(counted(), Some(Counted { allocations: 3, live_bytes: 400 }));
        // SAFETY: As above.
        unsafe {
            Counting.dealloc(grown, larger);
            Counting.dealloc(zeroed, layout);
        }
        assert_eq!(counted(), Some(Counted { allocations: 3, live_bytes: 0 }));
    }
}
