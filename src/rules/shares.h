/*
 * shares.h
 *		What each of several has of a whole, by their weights.
 */
#ifndef EVQ_SHARES_H
#define EVQ_SHARES_H

extern void evq_shares(const int64 *weights, int count, int total, uint64 drawn, int *shares);

#endif /* EVQ_SHARES_H */
