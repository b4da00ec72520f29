//! Where the data of every so many MCUs begins.
//!
//! The index grows downward as far as reads have needed it. Restart markers, where a file has enough of them,
//! are found by looking for their bytes; otherwise the entropy-coded data is walked over, without computing a
//! single sample. Between restart markers far apart, such as one in a row of MCUs, more places are noted by a
//! walk when a read first comes there.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};

use crate::bits::{BitPlace, BitReader};
use crate::once::PATIENCE;
use crate::segments::RST0;
use crate::sequential::{MAX_COMPONENTS, Place, Scan, Walk};

/// Fewest MCUs between two places: a tile of 256 pixels has 16 or 32 in a row.
const MIN_STEP: u32 = 16;

/// Most places kept, of 40 bytes each.
const MAX_PLACES: u32 = 1 << 17;

/// MCUs between two looks at the clock.
const MCUS_PER_CHECK: u32 = 1 << 14;

/// Places of a scan, as far as they are known.
pub(crate) struct Index {
    /// MCUs from one place to the next.
    step: u32,
    /// Restart markers from one place to the next, 0 if places are not at restart markers.
    restarts: u32,
    state: Mutex<State>,
    grown: Condvar,
    between: Mutex<Between>,
}

/// Places `MIN_STEP` MCUs apart, by the number of the place they follow.
#[derive(Default)]
struct Between {
    places: HashMap<u32, Arc<Vec<Place>>>,
    count: usize,
}

struct State {
    /// Place `k` is before MCU `k * step`.
    places: Vec<Place>,
    growing: bool,
    /// The restart markers are not what they should be: walk.
    walk: bool,
}

impl Index {
    /// The index of a scan, with its first place.
    pub(crate) fn new(scan: &Scan) -> Self {
        let min_step = MIN_STEP.max(scan.mcu_count() / MAX_PLACES + 1);
        let interval = scan.restart_interval;
        // Finding markers is much faster than walking, but leaves more to walk in each row of a tile.
        let restarts = match interval {
            1.. if interval <= scan.frame.mcu_cols().max(MIN_STEP) => min_step.div_ceil(interval),
            _ => 0,
        };
        Self {
            step: if restarts > 0 {
                restarts * interval
            } else {
                min_step
            },
            restarts,
            state: Mutex::new(State {
                places: vec![Place::start(scan)],
                growing: false,
                walk: restarts == 0,
            }),
            grown: Condvar::new(),
            between: Mutex::default(),
        }
    }

    /// The most bytes the places take.
    pub(crate) fn max_bytes(&self, scan: &Scan) -> u64 {
        let places = u64::from(scan.mcu_count() / MIN_STEP.min(self.step)) + 1;
        places.min(2 * u64::from(MAX_PLACES)) * size_of::<Place>() as u64
    }

    /// Places found so far.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.lock().places.len()
    }

    /// A place a few MCUs before MCU `mcu` at most; finds it if it is not known yet.
    ///
    /// # Errors
    /// `Io`, `Cancelled`, `DeadlineExceeded`.
    pub(crate) fn place(
        &self,
        scan: &Scan,
        source: &dyn ByteSource,
        mcu: u32,
        ctx: &CallContext<'_>,
    ) -> Result<Place, DecodeError> {
        let before = self.regular(scan, source, mcu, ctx)?;
        if self.restarts == 0 || self.step <= MIN_STEP || before.ended {
            return Ok(before);
        }
        let number = mcu / self.step;
        let places = self.lock_between().places.get(&number).map(Arc::clone);
        let places = match places {
            Some(places) => places,
            None => self.walk_between(scan, source, number, &before)?,
        };
        let wanted = ((mcu - before.mcu) / MIN_STEP) as usize;
        Ok(places.get(wanted).or(places.last()).unwrap_or(&before).clone())
    }

    fn lock_between(&self) -> MutexGuard<'_, Between> {
        self.between.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes places from place number `number` to the next one.
    fn walk_between(
        &self,
        scan: &Scan,
        source: &dyn ByteSource,
        number: u32,
        before: &Place,
    ) -> Result<Arc<Vec<Place>>, DecodeError> {
        let end = before.mcu.saturating_add(self.step).min(scan.mcu_count());
        let mut places = vec![before.clone()];
        let mut walk = Walk::new(scan, source, before);
        while walk.mcu() + MIN_STEP < end && !walk.is_ended() {
            walk.skip_to(walk.mcu() + MIN_STEP)?;
            places.push(walk.place());
        }
        let places = Arc::new(places);
        let mut between = self.lock_between();
        if between.count + places.len() > MAX_PLACES as usize {
            *between = Between::default();
        }
        // Two reads may have walked at once; the second one replaces the same places.
        let replaced = between.places.insert(number, Arc::clone(&places));
        between.count += places.len() - replaced.map_or(0, |replaced| replaced.len());
        Ok(places)
    }

    /// The last regular place that is not behind MCU `mcu`, or the end of the data before it.
    fn regular(
        &self,
        scan: &Scan,
        source: &dyn ByteSource,
        mcu: u32,
        ctx: &CallContext<'_>,
    ) -> Result<Place, DecodeError> {
        let wanted = (mcu / self.step) as usize;
        let mut state = self.lock();
        loop {
            if let Some(place) = known(&state, wanted) {
                return Ok(place);
            }
            if !state.growing {
                break;
            }
            ctx.checkpoint()?;
            state = self
                .grown
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.growing = true;
        drop(state);
        let turn = Turn(self);
        loop {
            ctx.checkpoint()?;
            turn.0.grow(scan, source, wanted)?;
            if let Some(place) = known(&self.lock(), wanted) {
                return Ok(place);
            }
        }
    }

    /// What a walk over all of the data may note; `None` if places are found by markers.
    pub(crate) fn notes(&self) -> Option<Notes> {
        (self.restarts == 0).then(|| Notes {
            step: self.step,
            next_mcu: self.step,
            places: Vec::new(),
            first: 1,
        })
    }

    /// Takes what was noted so far, unless a read that makes the index grow is on the way.
    pub(crate) fn take(&self, notes: &mut Notes) {
        let mut state = self.lock();
        if state.growing {
            return;
        }
        let known = state.places.len().saturating_sub(notes.first);
        notes.first += notes.places.len();
        let new = notes.places.drain(..).skip(known);
        if state.places.last().is_none_or(|last| !last.ended) {
            state.places.extend(new);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds some places, not beyond number `wanted`.
    fn grow(&self, scan: &Scan, source: &dyn ByteSource, wanted: usize) -> Result<(), DecodeError> {
        let (mut last, known, walk) = {
            let state = self.lock();
            let last = state.places.last().cloned().unwrap_or_else(|| Place::start(scan));
            (last, state.places.len(), state.walk)
        };
        let count = (wanted + 1 - known).min((MCUS_PER_CHECK / self.step) as usize + 1);
        let mut found = Vec::with_capacity(count);
        let mut markers_end = false;
        if walk {
            let mut walk = Walk::new(scan, source, &last);
            while found.len() < count && !walk.is_ended() {
                walk.skip_to(walk.mcu() + self.step)?;
                found.push(walk.place());
            }
        } else {
            let mut reader = BitReader::new(source, last.bits);
            while found.len() < count && !markers_end {
                match self.next_at_markers(scan, &mut reader, &last)? {
                    Some(place) => {
                        last = place;
                        found.push(last.clone());
                    }
                    None => markers_end = true,
                }
            }
        }
        let mut state = self.lock();
        state.places.append(&mut found);
        state.walk |= markers_end;
        drop(state);
        self.grown.notify_all();
        Ok(())
    }

    /// The place after `last`, before a restart marker; `None` if the markers up to there are not in order.
    fn next_at_markers(
        &self,
        scan: &Scan,
        reader: &mut BitReader<'_>,
        last: &Place,
    ) -> Result<Option<Place>, DecodeError> {
        // The marker of the last place is not used yet; the first place has none.
        let passed = last.mcu / scan.restart_interval;
        let first = passed.saturating_sub(1);
        for number in first..passed + self.restarts {
            if number > first {
                reader.skip_marker();
            }
            if reader.find_marker()? != RST0 + (number & 7) as u8 {
                return Ok(None);
            }
        }
        Ok(Some(Place {
            bits: BitPlace::start(reader.place().offset),
            dc: [0; MAX_COMPONENTS],
            mcu: last.mcu + self.step,
            ended: false,
        }))
    }
}

/// Places of the index met by a walk from the start.
pub(crate) struct Notes {
    step: u32,
    /// Before which MCU the next one is.
    next_mcu: u32,
    /// Those not handed over yet.
    places: Vec<Place>,
    /// Number of the first of them.
    first: usize,
}

impl Notes {
    /// Notes where a walk is, if the index wants to know.
    #[inline]
    pub(crate) fn pass(&mut self, walk: &Walk<'_>) {
        if walk.mcu() == self.next_mcu {
            self.next_mcu += self.step;
            if self.places.last().is_none_or(|last| !last.ended) {
                self.places.push(walk.place());
            }
        }
    }
}

/// Place number `wanted`, or what stands for all places behind the end of the data.
fn known(state: &State, wanted: usize) -> Option<Place> {
    let last = state.places.last().filter(|last| last.ended);
    state.places.get(wanted).or(last).cloned()
}

/// Ends the turn of the call that grows the index.
struct Turn<'a>(&'a Index);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().growing = false;
        self.0.grown.notify_all();
    }
}
