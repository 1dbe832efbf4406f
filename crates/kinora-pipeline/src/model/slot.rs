//! A network that is loaded when it is needed, and given up when its memory is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Result;

/// Where a network of type `T` is kept between its uses. `How` is what it is loaded with.
pub(crate) struct Slot<T, How = ()> {
    load: Box<dyn Fn(How) -> Result<T> + Send + Sync>,
    kept: Mutex<Option<(How, Arc<T>)>>,
}

impl<T, How: Copy + PartialEq> Slot<T, How> {
    /// An empty slot that `load` fills.
    pub(crate) fn new(load: impl Fn(How) -> Result<T> + Send + Sync + 'static) -> Self {
        Self {
            load: Box::new(load),
            kept: Mutex::new(None),
        }
    }

    /// The network, loaded now if it is not there or was loaded in another way. Who asks meanwhile waits.
    ///
    /// **Errors**: those of loading; the slot is then empty.
    pub(crate) fn get(&self, how: How) -> Result<Arc<T>> {
        let mut kept = self.lock();
        match &*kept {
            Some((with, network)) if *with == how => Ok(network.clone()),
            _ => {
                // The old one goes first: both may be more than the machine has.
                *kept = None;
                let network = Arc::new((self.load)(how)?);
                *kept = Some((how, network.clone()));
                Ok(network)
            }
        }
    }

    /// Gives the network up; its memory is free when the last user has dropped it.
    pub(crate) fn release(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(How, Arc<T>)>> {
        // Either empty or whole, so a panic elsewhere does not spoil it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_network_is_loaded_once_until_it_is_given_up_or_wanted_in_another_way() {
        let loads = Arc::new(AtomicUsize::new(0));
        let counted = loads.clone();
        let slot = Slot::new(move |how: u8| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(how * 10)
        });
        assert_eq!((*slot.get(1).unwrap(), *slot.get(1).unwrap()), (10, 10));
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        assert_eq!(*slot.get(2).unwrap(), 20);
        slot.release();
        assert_eq!(*slot.get(2).unwrap(), 20);
        assert_eq!(loads.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_network_that_does_not_load_leaves_the_slot_empty() {
        let slot: Slot<u8> = Slot::new(|()| Err(crate::Error::Cancelled { step: 0, of: 0 }));
        assert!(slot.get(()).is_err() && slot.get(()).is_err());
    }
}
