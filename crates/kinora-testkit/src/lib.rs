//! goldens, comparisons and tolerances for tests; a dev-dependency only
