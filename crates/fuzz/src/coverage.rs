//! Which code a run reached, by the counters of `-C instrument-coverage`; nothing without the feature `coverage`.
//!
//! A counter is told apart by how often it counted, in powers of two, so that more rounds of a loop are new, too.

#[cfg(feature = "coverage")]
pub(crate) use counted::Coverage;
#[cfg(not(feature = "coverage"))]
pub(crate) use unknown::Coverage;

#[cfg(not(feature = "coverage"))]
mod unknown {
    /// No counters.
    pub(crate) struct Coverage;

    impl Coverage {
        pub fn new() -> Coverage {
            Coverage
        }

        pub fn begin(&mut self) {}

        pub fn end(&mut self) -> bool {
            false
        }

        pub fn reached(&self) -> usize {
            0
        }
    }
}

#[cfg(feature = "coverage")]
#[expect(
    unsafe_code,
    reason = "the counters lie in a section of the binary that only LLVM's runtime can name"
)]
mod counted {
    unsafe extern "C" {
        fn __llvm_profile_begin_counters() -> *mut u64;
        fn __llvm_profile_end_counters() -> *mut u64;
    }

    /// The counters, and for each the powers of two seen of it.
    pub(crate) struct Coverage {
        seen: Vec<u64>,
    }

    fn counters() -> &'static mut [u64] {
        // SAFETY: the runtime gives begin and end of one section of u64 that lives as long as the process. The fuzzer has one
        // thread and holds no reference to it while the code that counts runs.
        unsafe {
            let begin = __llvm_profile_begin_counters();
            let end = __llvm_profile_end_counters();
            std::slice::from_raw_parts_mut(begin, end.offset_from(begin) as usize)
        }
    }

    impl Coverage {
        pub fn new() -> Coverage {
            Coverage { seen: vec![0; counters().len()] }
        }

        /// A run begins.
        pub fn begin(&mut self) {
            counters().fill(0);
        }

        /// It ended: whether it reached what none did before.
        pub fn end(&mut self) -> bool {
            let mut more = false;
            for (counter, seen) in counters().iter().zip(&mut self.seen) {
                if *counter > 0 {
                    // From 2^10 on it is only told that there were many.
                    let bit = 1 << counter.ilog2().min(10);
                    more |= *seen & bit == 0;
                    *seen |= bit;
                }
            }
            more
        }

        /// How many counters were ever reached.
        pub fn reached(&self) -> usize {
            self.seen.iter().filter(|seen| **seen > 0).count()
        }
    }
}
