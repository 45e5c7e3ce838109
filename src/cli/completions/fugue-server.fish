# Completes fugue-server in fish.
function __fugue_server_complete
    set --local before (commandline --current-process --tokenize --cut-at-cursor)
    command fugue-server complete (count $before) -- $before (commandline --current-token) 2>/dev/null
end
complete --command fugue-server --no-files --keep-order --arguments '(__fugue_server_complete)'
