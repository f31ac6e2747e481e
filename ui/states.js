// The states of an event. Each has a colour (styles/base.css), a shape and a name: none of them stands alone.
// Shapes are drawn in a square of 16.
export const STATES = {
  AWAITING_PROCESSING: { name: 'awaiting processing', short: 'awaiting', css: 's-awaiting', final: false, shape: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11Z' },
  DISPATCHED: { name: 'dispatched', short: 'dispatched', css: 's-dispatched', final: false, shape: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM8 7a1 1 0 1 0 0 2 1 1 0 0 0 0-2Z' },
  BEING_PROCESSED: { name: 'being processed', short: 'processing', css: 's-processing', final: false, shape: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11Z', solid: 'M8 2.5a5.5 5.5 0 0 1 0 11Z' },
  SUSPENDED: { name: 'suspended', short: 'suspended', css: 's-suspended', final: false, shape: 'M5.5 3.5v9M10.5 3.5v9' },
  SUCCEEDED: { name: 'succeeded', short: 'succeeded', css: 's-succeeded', final: true, solid: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Z', cut: 'm5.2 8.2 2 2 3.6-4.2' },
  FAILED: { name: 'failed', short: 'failed', css: 's-failed', final: true, solid: 'M5.5 2h5L14 5.500v5L10.5 14h-5L2 10.500v-5Z', cut: 'm5.7 5.7 4.6 4.600m0-4.6-4.6 4.6' },
  EXPIRED: { name: 'expired', short: 'expired', css: 's-expired', final: true, shape: 'M4 2.500h8M4 13.500h8M5 2.500c0 3 1.5 4 3 5.5 1.5-1.5 3-2.5 3-5.500M5 13.500c0-3 1.5-4 3-5.5 1.5 1.5 3 2.5 3 5.5' },
  CANCELED: { name: 'canceled', short: 'canceled', css: 's-canceled', final: true, shape: 'M8 2.500a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM4.2 11.800l7.6-7.6' },
};

export const LIVE = Object.keys(STATES).filter((status) => !STATES[status].final);
export const FINAL = Object.keys(STATES).filter((status) => STATES[status].final);

// What an operator may do with an event in each state.
export const canRetry = (status) => ['FAILED', 'EXPIRED', 'CANCELED'].includes(status);
export const canCancel = (status) => !STATES[status].final;
export const canAcquire = (status) => ['AWAITING_PROCESSING', 'DISPATCHED'].includes(status);
