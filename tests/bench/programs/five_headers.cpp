#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <vector>

struct Student {
    std::string name;
    int points;
};

static std::vector<Student> students()
{
    return {{"Ada", 91}, {"Grace", 88}, {"Edsger", 79}, {"Barbara", 95}, {"Donald", 85}, {"Tony", 62}};
}

static char grade(int points)
{
    if (points >= 90)
        return 'A';
    if (points >= 80)
        return 'B';
    return points >= 70 ? 'C' : 'D';
}

static std::map<char, std::vector<std::string>> by_grade(const std::vector<Student>& all)
{
    std::map<char, std::vector<std::string>> groups;
    for (const auto& student : all)
        groups[grade(student.points)].push_back(student.name);
    return groups;
}

static int total(const std::vector<Student>& all)
{
    int sum = 0;
    for (const auto& student : all)
        sum += student.points;
    return sum;
}

int main()
{
    auto all = students();
    std::sort(all.begin(), all.end(), [](const Student& a, const Student& b) { return a.points > b.points; });
    if (all.front().name != "Barbara" || all.back().name != "Tony")
        return 1;
    auto groups = by_grade(all);
    std::string line;
    for (const auto& [letter, names] : groups) {
        for (const auto& name : names)
            line += name + ' ';
        line += letter;
    }
    if (groups.at('A').size() != 2 || total(all) != 500 || line.size() < 20)
        return 2;
    auto found = std::find_if(all.begin(), all.end(), [](const Student& s) { return s.name == "Grace"; });
    if (found == all.end())
        return 3;
    std::cout << "hello" << std::endl;
    return 0;
}
