// SPDX-License-Identifier: Apache-2.0
#include "cli/parser.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace culvert::cli {
namespace {

std::string joined(const std::vector<std::string>& words, const std::string& with) {
    std::string out;
    for (const auto& word : words) {
        out += (out.empty() ? "" : with) + word;
    }
    return out;
}

// "--long" and "-s" names of a command's options, positionals left out.
std::vector<std::string> flags_of(const CLI::App& app) {
    std::vector<std::string> out;
    for (const auto* option : app.get_options()) {
        for (const auto& name : option->get_lnames()) {
            out.push_back("--" + name);
        }
        for (const auto& name : option->get_snames()) {
            out.push_back("-" + name);
        }
    }
    return out;
}

std::vector<std::string> names_of(const std::vector<const CLI::App*>& commands) {
    std::vector<std::string> out;
    out.reserve(commands.size());
    for (const auto* command : commands) {
        out.push_back(command->get_name());
    }
    return out;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
}

// One `case` arm for each command and nested command: "node list") words="..." ;;
void add_arms(std::string& out, const CLI::App& app, const std::string& path,
              const std::string& common) {
    for (const auto* command : commands_of(app)) {
        const auto here = path.empty() ? command->get_name() : path + " " + command->get_name();
        auto words = names_of(commands_of(*command));
        for (const auto& flag : flags_of(*command)) {
            words.push_back(flag);
        }
        out +=
            fmt::format("        \"{}\") words=\"{} {}\" ;;\n", here, joined(words, " "), common);
        add_arms(out, *command, here, common);
    }
}

std::string bash_script(const CLI::App& app) {
    const auto common = joined(flags_of(app), " ");
    std::string arms;
    add_arms(arms, app, "", common);
    return fmt::format(
        R"sh(# bash completion of culvert: source <(culvert completion bash)
_culvert() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local path="" words word
    case $previous in
        --output|-o) COMPREPLY=($(compgen -W "json table" -- "$current")); return ;;
        --netns) COMPREPLY=($(compgen -W "$(ls /run/netns 2>/dev/null)" -- "$current")); return ;;
        --backbone) COMPREPLY=($(compgen -W "none $(ls /sys/class/net)" -- "$current")); return ;;
        --ca|--ca-out|--data-dir) COMPREPLY=($(compgen -f -- "$current")); return ;;
    esac
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in
            -*) ;;
            *) path="${{path:+$path }}$word" ;;
        esac
    done
    case $path in
        "") words="{} {}" ;;
{}        *) words="{}" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _culvert culvert
)sh",
        joined(names_of(commands_of(app)), " "), common, arms, common);
}

std::string zsh_quoted(std::string text) {
    for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) {
        text.replace(at, 1, "'\\''");
    }
    return text;
}

std::string zsh_script(const CLI::App& app) {
    std::string commands;
    std::string arms;
    for (const auto* command : commands_of(app)) {
        commands += fmt::format("        '{}:{}'\n", command->get_name(),
                                zsh_quoted(command->get_description()));
        auto words = names_of(commands_of(*command));
        for (const auto& flag : flags_of(*command)) {
            words.push_back(flag);
        }
        arms += fmt::format("        {}) compadd -- {} {} ;;\n", command->get_name(),
                            joined(words, " "), joined(flags_of(app), " "));
    }
    return fmt::format(
        R"sh(#compdef culvert
# zsh completion of culvert: source <(culvert completion zsh)
_culvert() {{
    local -a commands
    commands=(
{}    )
    if (( CURRENT == 2 )); then
        _describe 'command' commands
        return
    fi
    case ${{words[2]}} in
{}    esac
}}
compdef _culvert culvert
)sh",
        commands, arms);
}

// man(7): a backslash and a leading dot or quote are special.
std::string man_text(const std::string& text) {
    std::string out;
    bool line_start = true;
    for (const char c : text) {
        if (line_start && (c == '.' || c == '\'')) {
            out += "\\&";
        }
        out += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
        line_start = c == '\n';
    }
    return out;
}

void add_options(std::string& out, const CLI::App& app) {
    for (const auto* option : app.get_options()) {
        std::vector<std::string> names;
        for (const auto& name : option->get_snames()) {
            names.push_back("-" + name);
        }
        for (const auto& name : option->get_lnames()) {
            names.push_back("--" + name);
        }
        if (names.empty()) {
            names.push_back(option->get_name(true));
        }
        const bool takes_value = option->get_type_size() != 0 && !option->get_positional();
        out += fmt::format(".TP\n\\fB{}\\fR{}\n{}", man_text(joined(names, ", ")),
                           takes_value ? " \\fI" + man_text(option->get_type_name()) + "\\fR" : "",
                           man_text(option->get_description()));
        out += option->get_default_str().empty()
                   ? "\n"
                   : fmt::format(" (default: {})\n", man_text(option->get_default_str()));
    }
}

void add_commands(std::string& out, const CLI::App& app, const std::string& path) {
    for (const auto* command : commands_of(app)) {
        const auto here = path + " " + command->get_name();
        if (commands_of(*command).empty()) {
            out +=
                fmt::format(".SS {}\n{}.\n", man_text(here), man_text(command->get_description()));
            add_options(out, *command);
        }
        add_commands(out, *command, here);
    }
}

}  // namespace

Result<std::string> completion_script(const CLI::App& app, const std::string& shell) {
    if (shell == "bash") {
        return bash_script(app);
    }
    if (shell == "zsh") {
        return zsh_script(app);
    }
    return fail(Code::kInvalidArgument,
                fmt::format("completion: no script for \"{}\"; give bash or zsh", shell), "SHELL");
}

std::string manual_page(const CLI::App& app) {
    std::string out = ".TH CULVERT 1\n.SH NAME\nculvert \\- Private Link that anyone can run\n";
    out += ".SH SYNOPSIS\n.B culvert\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIoptions\\fR]\n";
    out += ".SH DESCRIPTION\n" + man_text(app.get_description()) + "\n";
    out += ".SH OPTIONS OF EVERY COMMAND\n";
    add_options(out, app);
    out += ".SH COMMANDS\n";
    add_commands(out, app, "culvert");
    out += ".SH CREDENTIALS AND EXIT STATUS\n" + man_text(app.get_footer()) + "\n";
    return out;
}

}  // namespace culvert::cli
