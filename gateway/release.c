/*
 * release.c
 *		By which names the installed extension has the functions of the routes.
 *
 * Since 0.3 they are in the schema evq_http. Before, they were beside the functions of users: evq_http.publish() was
 * evq_http_publish(), and evq_http.mcp() was evq_mcp(). Each connection looks at its beginning which of them there are;
 * when a call finds that this is so no longer, it is asked again (see database.c). So the program goes on while the
 * extension is updated.
 */
#include "release.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "evq_http."

static bool is_old;

/* As it was seen last. */
bool
release_is_old(void)
{
	return is_old;
}

/* result: of RELEASE_SQL, or of another statement with that column. Without a row nothing is known. */
void
release_learn(const PGresult *result)
{
	int column = PQfnumber(result, RELEASE_COLUMN);

	if (column >= 0 && PQntuples(result) == 1)
		is_old = PQgetvalue(result, 0, column)[0] == 't';
}

/*
 * The statement that calls a function, which is named as in new releases; NULL = it is the same in old ones. To be freed.
 *
 * In an old release a name without schema is looked up in the schema of the extension. When the extension has been
 * updated the name is free, and may be anybody's: so that nobody's function is called, the release is looked at in the
 * statement itself, which then has no row.
 */
char *
release_statement(const char *function, const char *arguments, bool of_old_release)
{
	bool is_moved = strncmp(function, SCHEMA, strlen(SCHEMA)) == 0;
	char *statement = NULL;
	const char *name;
	int done;

	if (!of_old_release)
		done = asprintf(&statement, "SELECT * FROM %s%s", function, arguments);
	else if (!is_moved)
		return NULL;
	else
	{
		name = function + strlen(SCHEMA);
		done = asprintf(
			&statement,
			"SELECT * FROM evq_%s%s%s WHERE EXISTS"
			" (SELECT FROM pg_catalog.pg_extension x WHERE x.extname = 'evq' AND " RELEASE_IS_OLD_SQL ")",
			strcmp(name, "mcp") == 0 ? "" : "http_", name, arguments);
	}
	if (done < 0)
		abort();
	return statement;
}
