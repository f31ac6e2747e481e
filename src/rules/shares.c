/*
 * shares.c
 *		What each of several has of a whole, by their weights.
 */
#include "postgres.h"

#include "rules/shares.h"

/*
 * Divides a total among "count" of them, one at least, all of it: each has its exact share rounded up
 * or down, so that on average over what is drawn it is the exact one. Who has the weight 0 has
 * nothing; some weight is above it. drawn: a random number.
 */
void
evq_shares(const int64 *weights, int count, int total, uint64 drawn, int *shares)
{
	int64 whole = weights[0];
	int64 sum = 0;
	int64 given = 0;
	int64 offset;

	for (int i = 1; i < count; i++)
		whole += weights[i];
	Assert(whole > 0);
	offset = (int64) (drawn % (uint64) whole);
	for (int i = 0; i < count; i++)
	{
		int64 until;

		sum += weights[i];
		until = (total * sum + offset) / whole;
		shares[i] = (int) (until - given);
		given = until;
	}
}
