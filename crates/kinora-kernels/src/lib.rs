//! the operations as contracts: a plain reference of each and fast CPU versions chosen at run time
