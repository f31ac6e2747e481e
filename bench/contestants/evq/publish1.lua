-- What wrk sends: publish1.sql, as a request. The payload comes behind "--".
function init(arguments)
	local payload = arguments[1]
	body = function()
		return string.format('{"event_type":"BENCH","flow_type":"BENCH","flow_id":"%d","payload":%s}', math.random(1000000), payload)
	end
end

function request()
	return wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, body())
end
