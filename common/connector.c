/*
 * connector.c
 *		A connection to one of the servers of a connection string, made without waiting.
 */
#include "connector.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buffer.h"
#include "memory.h"
#include "names.h"

#define MOST_SETTINGS 24

/* No host has less time than this, as with libpq's connect_timeout. */
#define SHORTEST_SHARE 2000

/* What libpq is told of one server, "" = what libpq takes by itself. */
typedef struct Host
{
	char *name;
	char *address;
	char *port;
} Host;

struct Connector
{
	const char *const *keywords;
	const char *const *values;
	int64_t milliseconds; /* for all hosts, where connect_timeout does not say how long for each */

	/* Of the round under way: what the settings say, and how far it is. */
	Host *hosts;
	int host_count;
	int64_t share;
	bool prefers_standby; /* the first time */
	int tried;            /* hosts */
	Lookup *lookup;
	Address addresses[NAMES_MOST_ADDRESSES];
	int address_count;
	int address;
	PGconn *pg;
	PostgresPollingStatusType polling;
	int64_t step_ends_at;
	Buffer error;
	char sqlstate[6]; /* with which all have refused, "" = not all, or not with the same */

	int first; /* the host to be tried first */
};

/* The arrays are as PQconnectdbParams() takes them and have to stay. */
Connector *
connector_create(const char *const *keywords, const char *const *values, int64_t milliseconds)
{
	Connector *connector = memory_new(sizeof(Connector));

	connector->keywords = keywords;
	connector->values = values;
	connector->milliseconds = milliseconds;
	return connector;
}

static void
forget_hosts(Connector *connector)
{
	for (int i = 0; i < connector->host_count; i++)
	{
		free(connector->hosts[i].name);
		free(connector->hosts[i].address);
		free(connector->hosts[i].port);
	}
	free(connector->hosts);
	connector->hosts = NULL;
	connector->host_count = 0;
}

static void
stop_lookup(Connector *connector)
{
	if (connector->lookup != NULL)
		names_forget(connector->lookup);
	connector->lookup = NULL;
}

/* Ends what is under way. */
void
connector_stop(Connector *connector)
{
	stop_lookup(connector);
	PQfinish(connector->pg);
	connector->pg = NULL;
}

void
connector_free(Connector *connector)
{
	connector_stop(connector);
	forget_hosts(connector);
	buffer_free(&connector->error);
	free(connector);
}

static int64_t
monotonic_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---------- what the settings say ---------- */

/* libpq with these settings before the end; it waits for no name if it has addresses only. */
static PGconn *
start_libpq(const Connector *connector, const char *const (*more)[2])
{
	const char *keywords[MOST_SETTINGS + 1];
	const char *values[MOST_SETTINGS + 1];
	int count = 0;

	for (; connector->keywords[count] != NULL && count < MOST_SETTINGS; count++)
	{
		keywords[count] = connector->keywords[count];
		values[count] = connector->values[count];
	}
	for (; (*more)[0] != NULL && count < MOST_SETTINGS; more++, count++)
	{
		keywords[count] = (*more)[0];
		values[count] = (*more)[1];
	}
	keywords[count] = values[count] = NULL;
	return PQconnectStartParams(keywords, values, true);
}

static const char *
value_of(const PQconninfoOption *settings, const char *keyword)
{
	for (; settings != NULL && settings->keyword != NULL; settings++)
	{
		if (strcmp(settings->keyword, keyword) == 0)
			return settings->val != NULL ? settings->val : "";
	}
	return "";
}

static int
count_elements(const char *list)
{
	int count = 1;

	for (; *list != '\0'; list++)
		count += *list == ',';
	return count;
}

/* Of a list with commas. One with a single element has it in all places. */
static char *
element(const char *list, int place)
{
	if (strchr(list, ',') == NULL)
		return memory_string(list);
	for (; place > 0; place--)
	{
		list += strcspn(list, ",");
		list += *list == ',';
	}
	return memory_text(list, strcspn(list, ","));
}

/*
 * Reads the settings as libpq does, with its environment and service file. It is given an sslmode that there is not, so
 * that it connects to nothing.
 */
static void
read_settings(Connector *connector)
{
	static const char *const nowhere[][2] = {{"sslmode", "-"}, {NULL, NULL}};
	PGconn *pg = start_libpq(connector, nowhere);
	PQconninfoOption *settings = PQconninfo(pg);
	const char *names = value_of(settings, "host");
	const char *addresses = value_of(settings, "hostaddr");
	const char *ports = value_of(settings, "port");
	int count = count_elements(addresses[0] != '\0' ? addresses : names);
	int timeout = atoi(value_of(settings, "connect_timeout"));
	bool is_odd = (addresses[0] != '\0' && names[0] != '\0' && count_elements(names) != count) ||
				  (count_elements(ports) != 1 && count_elements(ports) != count);

	forget_hosts(connector);
	/* What does not match libpq refuses, and says why. */
	connector->host_count = is_odd ? 0 : count;
	connector->hosts = memory_array((size_t) count, sizeof(Host));
	for (int i = 0; i < connector->host_count; i++)
		connector->hosts[i] = (Host){element(names, i), element(addresses, i), element(ports, i)};
	connector->share = timeout > 0 ? timeout * INT64_C(1000) : connector->milliseconds / count;
	if (connector->share < SHORTEST_SHARE)
		connector->share = SHORTEST_SHARE;
	connector->prefers_standby = strcmp(value_of(settings, "target_session_attrs"), "prefer-standby") == 0;
	PQconninfoFree(settings);
	PQfinish(pg);
}

/* ---------- what went wrong ---------- */

/*
 * libpq's words, on one line. They are the verbose ones, as those alone have the SQLSTATE:
 * "... FATAL:  3D000: database "x" does not exist\nLOCATION: ...". Neither it nor the place in the source is kept.
 */
static void
note_error(Connector *connector, const char *message)
{
	char sqlstate[6] = "";
	bool is_first = connector->error.length == 0;

	if (connector->error.length > 0)
		buffer_text(&connector->error, "; ");
	while (*message != '\0')
	{
		size_t length = strcspn(message, "\n");

		if (strncmp(message, "LOCATION:", 9) != 0 && length > 0)
		{
			const char *code = strstr(message, ":  ");

			if (connector->error.length > 0 && connector->error.data[connector->error.length - 1] != ' ')
				buffer_text(&connector->error, " ");
			if (code != NULL && code + 10 <= message + length &&
				strspn(code + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[8] == ':' &&
				code[9] == ' ')
			{
				memcpy(sqlstate, code + 3, 5);
				buffer_append(&connector->error, message, (size_t) (code + 3 - message));
				buffer_append(&connector->error, code + 10, length - (size_t) (code + 10 - message));
			}
			else
				buffer_append(&connector->error, message, length);
		}
		message += length;
		message += *message == '\n';
	}
	if (is_first)
		memcpy(connector->sqlstate, sqlstate, sizeof(sqlstate));
	else if (strcmp(connector->sqlstate, sqlstate) != 0)
		connector->sqlstate[0] = '\0';
}

static const Host *
present_host(const Connector *connector)
{
	return &connector->hosts[(connector->first + connector->tried) % connector->host_count];
}

static void
note_silence(Connector *connector, const char *who)
{
	Buffer message = {0};
	const char *name = connector->host_count == 0 ? "" : present_host(connector)->name;

	if (connector->host_count > 0 && name[0] == '\0')
		name = present_host(connector)->address;
	buffer_format(&message, "%s \"%s\" does not answer", who, name);
	note_error(connector, message.data);
	buffer_free(&message);
}

/* ---------- one after the other ---------- */

static ConnectorState go_to_next(Connector *connector, int64_t now);

static ConnectorState
try_address(Connector *connector, int64_t now)
{
	const char *more[5][2] = {{NULL, NULL}};

	if (connector->host_count > 0)
	{
		const Host *host = present_host(connector);

		more[0][0] = "host";
		more[0][1] = host->name;
		more[1][0] = "hostaddr";
		more[1][1] = connector->addresses[connector->address];
		more[2][0] = "port";
		more[2][1] = host->port;
		more[3][0] = connector->prefers_standby ? "target_session_attrs" : NULL;
		more[3][1] = "standby";
		more[4][0] = NULL;
	}
	connector->pg = start_libpq(connector, (const char *const(*)[2]) more);
	connector->polling = PGRES_POLLING_WRITING;
	connector->step_ends_at = now + connector->share;
	if (connector->pg != NULL && PQstatus(connector->pg) != CONNECTION_BAD)
	{
		(void) PQsetErrorVerbosity(connector->pg, PQERRORS_VERBOSE);
		return CONNECTOR_GOING_ON;
	}
	note_error(connector, PQerrorMessage(connector->pg));
	return go_to_next(connector, now);
}

static ConnectorState
try_host(Connector *connector, int64_t now)
{
	const Host *host;

	connector->address = 0;
	connector->address_count = 1;
	connector->addresses[0][0] = '\0';
	if (connector->host_count == 0)
		return try_address(connector, now);
	host = present_host(connector);
	if (host->address[0] != '\0' || host->name[0] == '\0' || strchr("/@", host->name[0]) != NULL ||
		names_is_address(host->name))
	{
		strncpy(connector->addresses[0], host->address, NAMES_ADDRESS_SIZE - 1);
		return try_address(connector, now);
	}
	connector->lookup = names_ask(host->name);
	connector->step_ends_at = now + connector->share;
	if (connector->lookup != NULL)
		return CONNECTOR_GOING_ON;
	note_error(connector, strerror(errno));
	return go_to_next(connector, now);
}

/* What is under way has failed, and that was noted. */
static ConnectorState
go_to_next(Connector *connector, int64_t now)
{
	connector_stop(connector);
	if (++connector->address < connector->address_count)
		return try_address(connector, now);
	if (++connector->tried < connector->host_count)
		return try_host(connector, now);
	if (!connector->prefers_standby)
		return CONNECTOR_FAILED;
	/* None is a standby. */
	connector->prefers_standby = false;
	connector->tried = 0;
	buffer_free(&connector->error);
	return try_host(connector, now);
}

static ConnectorState
take_addresses(Connector *connector, int64_t now)
{
	const char *error;
	int count = names_answer(connector->lookup, connector->addresses, &error);

	if (count < 0)
		return CONNECTOR_GOING_ON;
	if (count == 0)
	{
		Buffer message = {0};

		buffer_format(&message, "could not translate host name \"%s\" to address: %s",
					  present_host(connector)->name, error);
		note_error(connector, message.data);
		buffer_free(&message);
		connector->address_count = 0;
		return go_to_next(connector, now);
	}
	stop_lookup(connector);
	connector->address = 0;
	connector->address_count = count;
	return try_address(connector, now);
}

/* Begins with a new round, from the host that served last. */
ConnectorState
connector_begin(Connector *connector, int64_t now)
{
	connector_stop(connector);
	buffer_free(&connector->error);
	connector->sqlstate[0] = '\0';
	read_settings(connector);
	connector->tried = 0;
	return try_host(connector, now);
}

/* What to wait for, until connector_wake_at(). */
int
connector_fd(const Connector *connector, short *events)
{
	*events = POLLIN;
	if (connector->lookup != NULL)
		return names_fd(connector->lookup);
	if (connector->polling == PGRES_POLLING_WRITING)
		*events = POLLOUT;
	return PQsocket(connector->pg);
}

int64_t
connector_wake_at(const Connector *connector)
{
	return connector->step_ends_at;
}

/* Called when something has happened, or the time is over, or without a reason. */
ConnectorState
connector_go_on(Connector *connector, int64_t now)
{
	struct pollfd ready = {0};

	ready.fd = connector_fd(connector, &ready.events);
	if (poll(&ready, 1, 0) > 0)
	{
		if (connector->lookup != NULL)
			return take_addresses(connector, now);
		connector->polling = PQconnectPoll(connector->pg);
		if (connector->polling == PGRES_POLLING_OK)
			return CONNECTOR_CONNECTED;
		if (connector->polling == PGRES_POLLING_FAILED)
		{
			note_error(connector, PQerrorMessage(connector->pg));
			return go_to_next(connector, now);
		}
	}
	if (now < connector->step_ends_at)
		return CONNECTOR_GOING_ON;
	note_silence(connector, connector->lookup != NULL ? "the name server, asked for host" : "host");
	connector->address_count = connector->lookup != NULL ? 0 : connector->address_count;
	return go_to_next(connector, now);
}

/* For programs that have nothing else to do: returns when it is connected, or has failed. */
ConnectorState
connector_wait(Connector *connector)
{
	ConnectorState state = connector_begin(connector, monotonic_now());

	while (state == CONNECTOR_GOING_ON)
	{
		struct pollfd wanted = {0};
		int64_t left = connector_wake_at(connector) - monotonic_now();

		wanted.fd = connector_fd(connector, &wanted.events);
		(void) poll(&wanted, 1, left > 0 ? (int) left : 0);
		state = connector_go_on(connector, monotonic_now());
	}
	return state;
}

/* The connection, once there is one; it is the caller's from here on. */
PGconn *
connector_take(Connector *connector)
{
	PGconn *pg = connector->pg;

	(void) PQsetErrorVerbosity(pg, PQERRORS_DEFAULT);
	connector->pg = NULL;
	if (connector->host_count > 0)
		connector->first = (connector->first + connector->tried) % connector->host_count;
	return pg;
}

/* The server that it was connected to will not do: the next round begins with the one behind it. */
void
connector_pass(Connector *connector)
{
	connector->first++;
}

/* Why a round has failed, for each host; "" = it has not. */
const char *
connector_error(const Connector *connector)
{
	return connector->error.data != NULL ? connector->error.data : "";
}

/* The SQLSTATE with which all servers have refused the connection; "" = they have not, or not with the same. */
const char *
connector_sqlstate(const Connector *connector)
{
	return connector->sqlstate;
}
