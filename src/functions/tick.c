/*
 * tick.c
 *		evq_tick(): the engine's turn in any session, for who has no dispatcher.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "base/clock.h"
#include "dispatcher/engine.h"

PG_FUNCTION_INFO_V1(evq_sql_tick);

/*
 * One whole turn in this session: the tables are read to the end, then what is
 * due is done, one batch of it.
 */
Datum
evq_sql_tick(PG_FUNCTION_ARGS)
{
	EvqEngine *engine = evq_engine_create(evq_shmem_mine());
	EvqTurn sum = {0};
	Datum values[3];
	bool nulls[3] = {false};
	TupleDesc row_type;

	PG_TRY();
	{
		TimestampTz now = evq_clock_now();
		EvqTurn turn;

		do
		{
			CHECK_FOR_INTERRUPTS();
			if (!evq_engine_turn(engine, now, &turn) || turn.is_paused)
				break;
			sum.dispatched += turn.dispatched;
			sum.timed_out += turn.timed_out;
			sum.expired += turn.expired;
		} while (evq_engine_is_sweeping(engine));
	}
	PG_FINALLY();
	{
		evq_engine_destroy(engine);
	}
	PG_END_TRY();

	values[0] = Int32GetDatum(sum.dispatched);
	values[1] = Int32GetDatum(sum.timed_out);
	values[2] = Int32GetDatum(sum.expired);
	if (get_call_result_type(fcinfo, NULL, &row_type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row_type), values, nulls));
}
