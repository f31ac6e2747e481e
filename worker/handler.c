/*
 * handler.c
 *		The process that works on one event, and its pipes: stdin, stdout, stderr and that of its report.
 *
 * A handler leads a process group of its own, so that signals reach whatever
 * it started, and what is left of the group when it has ended is killed. The
 * worker's ends of the pipes never block.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "handler.h"
#include "memory.h"

extern char **environ;

/* How much of the end of stderr is kept: as much as evq stores of a stack trace. */
#define KEPT_COMPLAINT 32768
#define LONGEST_LINE 2000

/* Read at most so much at a time, and after the end, from somebody who may write for ever. */
#define READ_SIZE 65536
#define READS_AFTER_END 64

struct Handler
{
	const HandlerSetting *setting;
	pid_t pid;
	int stdin_fd; /* -1 = closed, as the others */
	int stdout_fd;
	int stderr_fd;
	int report_fd; /* -1 where stdout is the report */
	Buffer input;
	size_t input_written;
	Buffer report;
	bool too_much;
	Buffer complaint;
	Buffer printed_line;   /* the beginning of a line of stdout */
	Buffer complaint_line; /* ... of stderr */
	void *line_context;
};

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The environment with the variables in place of those of the same names. */
static char **
make_environment(char *const *variables)
{
	size_t inherited = 0;
	size_t added = 0;
	size_t count = 0;
	char **environment;

	while (environ[inherited] != NULL)
		inherited++;
	while (variables[added] != NULL)
		added++;
	environment = memory_array(inherited + added + 1, sizeof(char *));
	for (size_t i = 0; i < inherited; i++)
	{
		bool replaced = false;

		for (size_t j = 0; j < added && !replaced; j++)
			replaced = strncmp(environ[i], variables[j], strcspn(variables[j], "=") + 1) == 0;
		if (!replaced)
			environment[count++] = environ[i];
	}
	memcpy(environment + count, variables, added * sizeof(char *));
	return environment;
}

static void
limit_files(rlim_t soft)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
	{
		files.rlim_cur = soft;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static bool
pass_report_fd(int fd)
{
	if (fd == HANDLER_REPORT_FD)
		return fcntl(fd, F_SETFD, 0) == 0;
	return dup2(fd, HANDLER_REPORT_FD) >= 0;
}

/* In the new process: becomes the handler, or writes errno to the pipe that exec would close. */
static void __attribute__((noreturn)) become_handler(const HandlerSetting *setting, char **environment,
													 const int *fds, int failure_fd, pid_t worker)
{
	int error;

	setpgid(0, 0);
#ifdef __linux__
	/* Nobody could report for a handler whose worker is gone. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != worker)
		_exit(EXIT_FAILURE);
#endif
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &setting->signal_mask, NULL);
	limit_files(setting->file_limit);
	if (failure_fd == HANDLER_REPORT_FD)
		failure_fd = fcntl(failure_fd, F_DUPFD_CLOEXEC, HANDLER_REPORT_FD + 1);
	if (dup2(fds[0], STDIN_FILENO) >= 0 && dup2(fds[1], STDOUT_FILENO) >= 0 &&
		dup2(fds[2], STDERR_FILENO) >= 0 && (fds[3] < 0 || pass_report_fd(fds[3])))
	{
		environ = environment;
		execvp(setting->command[0], setting->command);
	}
	error = errno;
	if (write(failure_fd, &error, sizeof(error)) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

/* A pipe whose ends no handler inherits; ours does not block. */
static bool
make_pipe(int fds[2], int ours)
{
	return pipe2(fds, O_CLOEXEC) == 0 && fcntl(fds[ours], F_SETFL, O_NONBLOCK) == 0;
}

/* Returns the errno with which the process could not become the handler, 0 = it has become it. */
static int
start_failure(int failure_fd)
{
	int error = 0;
	ssize_t got;

	do
		got = read(failure_fd, &error, sizeof(error));
	while (got < 0 && errno == EINTR);
	return got == sizeof(error) ? error : 0;
}

Handler *
handler_start(const HandlerSetting *setting, char *const *variables, Buffer *input, void *line_context)
{
	Handler *handler = memory_new(sizeof(Handler));
	int pipes[HANDLER_PIPES + 1][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
	int error = 0;

	handler->setting = setting;
	handler->stdin_fd = handler->stdout_fd = handler->stderr_fd = handler->report_fd = -1;
	if (make_pipe(pipes[0], 1) && make_pipe(pipes[1], 0) && make_pipe(pipes[2], 0) &&
		(setting->reports_on_stdout || make_pipe(pipes[3], 0)) && pipe2(pipes[4], O_CLOEXEC) == 0)
	{
		char **environment = make_environment(variables);
		pid_t worker = getpid();

		handler->pid = fork();
		if (handler->pid == 0)
		{
			int fds[HANDLER_PIPES] = {pipes[0][0], pipes[1][1], pipes[2][1], pipes[3][1]};

			become_handler(setting, environment, fds, pipes[4][1], worker);
		}
		free(environment);
		if (handler->pid > 0)
		{
			setpgid(handler->pid, handler->pid);
			close_fd(&pipes[4][1]);
			error = start_failure(pipes[4][0]);
			if (error != 0)
				waitpid(handler->pid, NULL, 0);
		}
		else
			error = errno;
	}
	else
		error = errno;

	close_fd(&pipes[0][0]);
	close_fd(&pipes[1][1]);
	close_fd(&pipes[2][1]);
	close_fd(&pipes[3][1]);
	close_fd(&pipes[4][0]);
	close_fd(&pipes[4][1]);
	handler->stdin_fd = pipes[0][1];
	handler->stdout_fd = pipes[1][0];
	handler->stderr_fd = pipes[2][0];
	handler->report_fd = pipes[3][0];
	if (error != 0)
	{
		handler_free(handler);
		errno = error;
		return NULL;
	}
	handler->input = *input;
	*input = (Buffer){0};
	handler->line_context = line_context;
	return handler;
}

void
handler_ask_poll(const Handler *handler, struct pollfd polls[HANDLER_PIPES])
{
	polls[0] = (struct pollfd){.fd = handler->stdin_fd, .events = POLLOUT};
	polls[1] = (struct pollfd){.fd = handler->stdout_fd, .events = POLLIN};
	polls[2] = (struct pollfd){.fd = handler->stderr_fd, .events = POLLIN};
	polls[3] = (struct pollfd){.fd = handler->report_fd, .events = POLLIN};
}

static void
write_input(Handler *handler)
{
	ssize_t written = write(handler->stdin_fd, handler->input.data + handler->input_written,
							handler->input.length - handler->input_written);

	if (written < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (written > 0)
		handler->input_written += (size_t) written;

	/* All is written, or nobody reads it (EPIPE), which a handler may choose. */
	if (written < 0 || handler->input_written == handler->input.length)
		close_fd(&handler->stdin_fd);
}

/* Reads once; false = there is nothing more for now, or ever. */
static bool
read_some(int *fd, char *buffer, size_t *length)
{
	ssize_t got = *fd < 0 ? 0 : read(*fd, buffer, READ_SIZE);

	*length = got > 0 ? (size_t) got : 0;
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		close_fd(fd);
	return got > 0;
}

static bool
read_report(Handler *handler, int *fd)
{
	char buffer[READ_SIZE];
	size_t length;

	if (!read_some(fd, buffer, &length))
		return false;
	if (handler->report.length + length > handler->setting->max_report)
	{
		handler->too_much = true;
		buffer_free(&handler->report);
		close_fd(fd);
		return false;
	}
	buffer_append(&handler->report, buffer, length);
	return true;
}

static void
end_line(Handler *handler, Buffer *line, HandlerLine take)
{
	if (line->length > 0 && take != NULL)
		take(handler->line_context, line->data);
	text_keep_end(line, 0);
}

static void
pass_lines(Handler *handler, Buffer *line, HandlerLine take, const char *data, size_t length)
{
	if (take == NULL)
		return;
	for (size_t i = 0; i < length; i++)
	{
		if (data[i] == '\n' || line->length == LONGEST_LINE)
			end_line(handler, line, take);
		if (data[i] != '\n' && data[i] != '\0')
			buffer_append(line, data + i, 1);
	}
}

static bool
read_printed(Handler *handler)
{
	char buffer[READ_SIZE];
	size_t length;

	if (handler->setting->reports_on_stdout)
		return read_report(handler, &handler->stdout_fd);
	if (!read_some(&handler->stdout_fd, buffer, &length))
		return false;
	pass_lines(handler, &handler->printed_line, handler->setting->take_printed, buffer, length);
	return true;
}

static bool
read_complaint(Handler *handler)
{
	char buffer[READ_SIZE];
	size_t length;

	if (!read_some(&handler->stderr_fd, buffer, &length))
		return false;
	buffer_append(&handler->complaint, buffer, length);
	text_keep_end(&handler->complaint, KEPT_COMPLAINT);
	pass_lines(handler, &handler->complaint_line, handler->setting->take_complaint, buffer, length);
	return true;
}

void
handler_exchange(Handler *handler, const struct pollfd polls[HANDLER_PIPES])
{
	if (polls[0].revents != 0)
		write_input(handler);
	if (polls[1].revents != 0)
		read_printed(handler);
	if (polls[2].revents != 0)
		read_complaint(handler);
	if (polls[3].revents != 0)
		read_report(handler, &handler->report_fd);
}

void
handler_signal(const Handler *handler, int number)
{
	kill(-handler->pid, number);
}

bool
handler_has_ended(Handler *handler, HandlerEnd *end)
{
	siginfo_t info = {0};

	/* As long as it has not been waited for, nobody else can have its id. */
	if (waitid(P_PID, (id_t) handler->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
		return false;
	handler_signal(handler, SIGKILL);
	waitpid(handler->pid, NULL, 0);
	*end = (HandlerEnd){.by_signal = info.si_code != CLD_EXITED, .number = info.si_status};

	close_fd(&handler->stdin_fd);
	for (int i = 0; i < READS_AFTER_END && read_complaint(handler); i++)
		;
	for (int i = 0; (i < READS_AFTER_END || handler->setting->reports_on_stdout) && read_printed(handler);
		 i++)
		;
	while (read_report(handler, &handler->report_fd))
		;
	end_line(handler, &handler->printed_line, handler->setting->take_printed);
	end_line(handler, &handler->complaint_line, handler->setting->take_complaint);
	close_fd(&handler->stdout_fd);
	close_fd(&handler->stderr_fd);
	close_fd(&handler->report_fd);
	return true;
}

bool
handler_is(const Handler *handler, pid_t pid)
{
	return handler->pid == pid;
}

bool
handler_reported_too_much(const Handler *handler)
{
	return handler->too_much;
}

Buffer *
handler_report(Handler *handler)
{
	return &handler->report;
}

Buffer *
handler_complaint(Handler *handler)
{
	return &handler->complaint;
}

void
handler_free(Handler *handler)
{
	close_fd(&handler->stdin_fd);
	close_fd(&handler->stdout_fd);
	close_fd(&handler->stderr_fd);
	close_fd(&handler->report_fd);
	buffer_free(&handler->input);
	buffer_free(&handler->report);
	buffer_free(&handler->complaint);
	buffer_free(&handler->printed_line);
	buffer_free(&handler->complaint_line);
	free(handler);
}
