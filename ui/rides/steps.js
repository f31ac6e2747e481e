// A ride: six events of one flow_id, each published by the success of the one before. As in demo/ride.sql.
export const FLOW = 'FLOW_B';

export const STEPS = [
  { type: 'RIDE_REQUESTED', title: 'Ride requested', doing: 'looking for a driver', max_attempts: 3, lifespan: 600, attempt_delays: [0, 5, 10] },
  { type: 'DRIVER_MATCHED', title: 'Driver matched', doing: 'driver on the way', max_attempts: 3, lifespan: 600, attempt_delays: [0, 5, 10] },
  { type: 'DRIVER_ARRIVED', title: 'Driver arrived', doing: 'getting in', max_attempts: 2, lifespan: 300, attempt_delays: [0, 5] },
  { type: 'TRIP_STARTED', title: 'Trip started', doing: 'on the road', max_attempts: 1, lifespan: 3600, attempt_delays: [0] },
  { type: 'TRIP_COMPLETED', title: 'Trip completed', doing: 'getting out', max_attempts: 1, lifespan: 600, attempt_delays: [0] },
  { type: 'PAYMENT_PROCESSED', title: 'Payment processed', doing: 'charging the card', max_attempts: 3, lifespan: 600, attempt_delays: [0, 10, 20] },
];

export const stepNumber = (type) => STEPS.findIndex((step) => step.type === type);
